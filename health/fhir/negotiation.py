"""Media types on `/fhir`: JSON of FHIR R4, in UTF-8 (FHIR R4 http.html#mime-type); NDJSON of bulk data."""

from collections.abc import Mapping, Sequence

from starlette.requests import Request

from health.fhir.outcome import refused

JSON = ("application/fhir+json", "application/json", "text/json")
JSON_PATCH = "application/json-patch+json"
PATCHES = (JSON[0], JSON_PATCH)
NDJSON = ("application/fhir+ndjson", "application/ndjson", "application/x-ndjson")
_SHORT = {"json": JSON[0], "ndjson": NDJSON[0], "csv": "text/csv"}
_RANGES = frozenset({"*/*", "application/*"})


def check_accept(request: Request, offered: Sequence[str] = JSON) -> None:
    """Raises Refusal 406 unless the caller takes FHIR R4 in what is offered."""
    format_ = request.query_params.get("_format")
    if format_ is not None:
        # A plus sign that was not percent-encoded arrives as a space.
        wanted = format_.partition(";")[0].strip().replace(" ", "+")
        if _SHORT.get(wanted, wanted) not in offered:
            words = f"_format {format_!r} is not offered; {offered[0]} is"
            raise refused(406, "not-supported", words, "_format")
        return
    ranges = request.headers.get("accept") or "*/*"
    if not any(_acceptable(*_media(part), offered) for part in ranges.split(",")):
        raise refused(406, "not-supported", f"{ranges!r} is not offered; {offered[0]} is", "Accept")


def check_content(request: Request, taken: Sequence[str] = JSON) -> None:
    """Raises Refusal 415 unless the body says it is FHIR R4, in UTF-8, in what is taken."""
    said = request.headers.get("content-type", "")
    media, parameters = _media(said)
    if media not in taken:
        words = f"{said or 'a body without Content-Type'} is not taken; send {taken[0]}"
        raise refused(415, "not-supported", words, "Content-Type")
    charset = parameters.get("charset", "utf-8").lower()
    if charset not in {"utf-8", "utf8"}:
        raise refused(415, "not-supported", f"the charset {charset} is not taken; send UTF-8", "Content-Type")
    if not _right_version(parameters):
        version = parameters["fhirversion"]
        raise refused(
            415, "not-supported", f"fhirVersion {version} is not taken; this is 4.0", "Content-Type"
        )


def _acceptable(media: str, parameters: Mapping[str, str], offered: Sequence[str]) -> bool:
    if parameters.get("q", "1").rstrip("0") in {"0.", ""}:
        return False
    return (media in _RANGES or media in offered) and _right_version(parameters)


def accepts(request: Request, media: str) -> bool:
    """Whether the caller takes content of a media type, which may be any."""
    kind = _media(media)[0]
    ranges = {"*/*", f"{kind.partition('/')[0]}/*", kind}
    asked = request.headers.get("accept") or "*/*"
    return any(
        range_ in ranges and parameters.get("q", "1").rstrip("0") not in {"0.", ""}
        for range_, parameters in map(_media, asked.split(","))
    )


def _right_version(parameters: Mapping[str, str]) -> bool:
    return parameters.get("fhirversion", "4.0") in {"4.0", "4.0.1"}


def _media(written: str) -> tuple[str, dict[str, str]]:
    media, *parameters = written.split(";")
    pairs = (parameter.partition("=") for parameter in parameters)
    return media.strip().lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
