"""A worker process: takes pushes on standard input, answers on standard output, ends with its parent.

`health.fhir.workers` starts these; `worker_frame` says how messages travel.
"""

import gc
import os
import sys
from typing import Any

import orjson

from health.fhir import checking, custom, positions, prepare
from health.fhir.bulk import lines
from health.fhir.outcome import Refusal
from health.fhir.views import viewed
from health.fhir.worker_frame import LENGTH_BYTES, received
from services.kit.telemetry import place_of

_ROOTS = {"bundle": "Bundle", "patch": "Parameters"}
"""What the bodies are, whose places are told by line and column."""


def main() -> None:
    given, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    gc.set_threshold(50_000, 20, 50)
    while (message := received(given)) is not None:
        answer = _answer(*message)
        try:
            answers.write(len(answer).to_bytes(LENGTH_BYTES, "big") + answer)
            answers.flush()
        except BrokenPipeError:
            # The service was killed meanwhile; nobody waits for the answer.
            os._exit(0)


def _answer(header: bytes, body: bytes) -> bytes:
    try:
        return orjson.dumps(answered(orjson.loads(header), body))
    except Exception as error:  # noqa: BLE001 - the next push needs this process, whatever is wrong with this one
        return orjson.dumps({"fault": place_of(error)})


def answered(header: dict[str, Any], body: bytes) -> dict[str, Any]:
    """The answer to one message: what was prepared, or why it was refused."""
    custom.listen(header["parameters"])
    try:
        match header["what"]:
            case "bundle":
                base, stored = header["base"], header["stored"]
                return {"prepared": prepare.bundle(body, base, stored, unchecked=header["unchecked"])}
            case "patch":
                prepared = prepare.patch(body, header["base"], header["type"], header["stored"])
                return {"prepared": prepared}
            case "validate":
                return {"checked": checking.checked(body, header["type"])}
            case "view":
                return {"rows": viewed(header["view"]).of_lines(body.decode().rstrip("\n").split("\n"))}
            case "lines":
                return {"lines": lines.checked(body, header)}
            case _:
                asked = header["base"], header["type"], header["id"]
                return {"prepared": prepare.resource(body, *asked, unchecked=header["unchecked"])}
    except Refusal as refusal:
        if header["what"] == "view":
            return {"refused": {"status": refusal.status, "issues": refusal.issues}}
        path = _ROOTS.get(header["what"]) or header["type"] or ""
        issues = positions.located(body, path, refusal.issues)
        return {"refused": {"status": refusal.status, "issues": issues}}


if __name__ == "__main__":
    main()
