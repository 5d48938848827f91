"""A worker process: takes pushes on standard input, answers on standard output, ends with its parent.

`health.fhir.workers` starts these; `worker_frame` says how messages travel.
"""

import gc
import os
import sys
from typing import Any

import orjson

from health.fhir import checking, positions, prepare
from health.fhir.outcome import Refusal
from health.fhir.worker_frame import LENGTH_BYTES, received


def main() -> None:
    given, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    gc.set_threshold(50_000, 20, 50)
    while (message := received(given)) is not None:
        header, body = message
        answer = orjson.dumps(answered(orjson.loads(header), body))
        try:
            answers.write(len(answer).to_bytes(LENGTH_BYTES, "big") + answer)
            answers.flush()
        except BrokenPipeError:
            # The service was killed meanwhile; nobody waits for the answer.
            os._exit(0)


def answered(header: dict[str, Any], body: bytes) -> dict[str, Any]:
    """The answer to one message: what was prepared, or why it was refused."""
    try:
        match header["what"]:
            case "bundle":
                return {"prepared": prepare.bundle(body, header["base"])}
            case "validate":
                return {"checked": checking.checked(body, header["type"])}
            case _:
                return {"prepared": prepare.resource(body, header["base"], header["type"], header["id"])}
    except Refusal as refusal:
        path = "Bundle" if header["what"] == "bundle" else header["type"] or ""
        issues = positions.located(body, path, refusal.issues)
        return {"refused": {"status": refusal.status, "issues": issues}}


if __name__ == "__main__":
    main()
