"""Media types on `/fhir`: JSON of FHIR R4, in UTF-8 (FHIR R4 http.html#mime-type)."""

from collections.abc import Mapping

from starlette.requests import Request

from health.fhir.outcome import refused

_FORMATS = frozenset({"json", "application/json", "application/fhir+json", "text/json"})
_TAKEN = frozenset({"application/fhir+json", "application/json", "text/json"})
_RANGES = frozenset({"*/*", "application/*"})


def check_accept(request: Request) -> None:
    """Raises Refusal 406 unless the caller takes FHIR R4 as JSON."""
    format_ = request.query_params.get("_format")
    if format_ is not None:
        # A plus sign that was not percent-encoded arrives as a space.
        wanted = format_.partition(";")[0].strip().replace(" ", "+")
        if wanted not in _FORMATS:
            raise refused(406, "not-supported", f"_format {format_!r} is not offered; json is", "_format")
        return
    ranges = request.headers.get("accept") or "*/*"
    if not any(_acceptable(*_media(part)) for part in ranges.split(",")):
        raise refused(406, "not-supported", f"{ranges!r} is not offered; application/fhir+json is", "Accept")


def check_content(request: Request) -> None:
    """Raises Refusal 415 unless the body says it is FHIR R4 as JSON in UTF-8."""
    said = request.headers.get("content-type", "")
    media, parameters = _media(said)
    if media not in _TAKEN:
        words = f"{said or 'a body without Content-Type'} is not taken; send application/fhir+json"
        raise refused(415, "not-supported", words, "Content-Type")
    charset = parameters.get("charset", "utf-8").lower()
    if charset not in {"utf-8", "utf8"}:
        raise refused(415, "not-supported", f"the charset {charset} is not taken; send UTF-8", "Content-Type")
    if not _right_version(parameters):
        version = parameters["fhirversion"]
        raise refused(
            415, "not-supported", f"fhirVersion {version} is not taken; this is 4.0", "Content-Type"
        )


def _acceptable(media: str, parameters: Mapping[str, str]) -> bool:
    if parameters.get("q", "1").rstrip("0") in {"0.", ""}:
        return False
    return media in _TAKEN | _RANGES and _right_version(parameters)


def _right_version(parameters: Mapping[str, str]) -> bool:
    return parameters.get("fhirversion", "4.0") in {"4.0", "4.0.1"}


def _media(written: str) -> tuple[str, dict[str, str]]:
    media, *parameters = written.split(";")
    pairs = (parameter.partition("=") for parameter in parameters)
    return media.strip().lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
