"""Parses one push in a process of its own: `python -m education.oneroster.child`.

A big push takes seconds of pure computation; in the server's process it would make every other caller wait.
On standard input: a line of JSON {key, now}, then the zip. On standard output: the frames, each as a line of
JSON {kind, head, bytes} followed by that many bytes.
"""

import json
import sys
from datetime import datetime

from education.oneroster.parsing import frames


def main() -> None:
    order = json.loads(sys.stdin.buffer.readline())
    body = sys.stdin.buffer.read()
    out = sys.stdout.buffer
    for frame in frames(body, key=bytes.fromhex(order["key"]), now=datetime.fromisoformat(order["now"])):
        head = {"kind": frame.kind, "head": dict(frame.head), "bytes": len(frame.payload)}
        out.write(json.dumps(head, ensure_ascii=False).encode() + b"\n")
        out.write(frame.payload)
    out.flush()


if __name__ == "__main__":
    main()
