"""The zip out of a request: the body itself, or the one file of a form."""

from fastapi import Request
from starlette.datastructures import UploadFile

from services.kit.problems import Problem, bad_request

ZIP_TYPES = frozenset({"application/zip", "application/x-zip-compressed", "application/octet-stream"})
FORM_TYPE = "multipart/form-data"
_HOW = "send the zip as application/zip, or as the one file of a multipart/form-data form"
# For the API's description: FastAPI sees only a raw request.
OPENAPI = {
    "requestBody": {
        "required": True,
        "content": {
            "application/zip": {"schema": {"type": "string", "format": "binary"}},
            FORM_TYPE: {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
        },
    }
}


async def zip_of(request: Request) -> bytes:
    """The pushed zip.

    Raises:
        Problem: 415 for another media type; 400 for an empty body or a form with not exactly one file.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in ZIP_TYPES:
        body = await request.body()
    elif media_type == FORM_TYPE:
        body = await _file_of_form(request)
    else:
        raise Problem(415, "unsupported_media_type", f"{media_type or 'no media type'} is not taken; {_HOW}")
    if not body:
        raise bad_request("empty_body", f"the body is empty; {_HOW}")
    return body


async def _file_of_form(request: Request) -> bytes:
    async with request.form(max_files=2, max_fields=2) as form:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if len(files) != 1 or len(form.multi_items()) != 1:
            raise bad_request("not_one_file", f"the form holds {len(files)} files; {_HOW}")
        return await files[0].read()
