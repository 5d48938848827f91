"""What `./run load` sends: files of each kind, cut into the pieces their door takes."""

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.stack.terminal import Refusal

NDJSON_LINES = 5_000
SOCIAL_SECURITY_KINDS = ("contributions", "payments", "claims", "claim_lines")


@dataclass(frozen=True)
class Piece:
    """One push.

    Attributes:
        label: what a person calls it in a message about it.
    """

    label: str
    content: bytes
    type: str
    query: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Sent as Idempotency-Key: the same piece sent twice counts once."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Door:
    """Where a kind of file goes, and as which kind of client.

    Attributes:
        in_order: a piece may need the one before it: one at a time.
    """

    path: str
    client_kind: str
    pieces: Callable[[Path, str], Iterator[Piece]]
    counts: Callable[[Any], dict[str, int]]
    in_order: bool = False


def files(path: Path, *endings: str) -> list[Path]:
    """The file itself, or those of a folder with one of the endings. Raises Refusal when there is none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise Refusal(f"找不到 {path} · not found")
    found = sorted(entry for entry in path.rglob("*") if entry.is_file() and entry.name.endswith(endings))
    if not found:
        raise Refusal(f"{path} 中没有 {'/'.join(endings)} 文件 · there is no such file in it")
    return found


def fhir_pieces(path: Path, _of: str) -> Iterator[Piece]:
    """Bundles: .json files, .ndjson with one a line, a folder of them, a tar archive (.xz, .gz, .bz2)."""
    for file in files(path, ".json", ".ndjson", ".tar.xz", ".tar.gz", ".tar.bz2", ".tar"):
        if file.name.endswith(".json"):
            yield Piece(file.name, file.read_bytes(), "application/fhir+json")
        elif file.name.endswith(".ndjson"):
            with file.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    yield Piece(f"{file.name}:{number}", line, "application/fhir+json")
        else:
            yield from _archived_bundles(file)


def _archived_bundles(file: Path) -> Iterator[Piece]:
    try:
        with tarfile.open(file, "r|*") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None and member.name.endswith(".json"):
                    yield Piece(Path(member.name).name, content.read(), "application/fhir+json")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise Refusal(f"{file} 无法解包 · is not a readable tar archive: {error}") from error


def oneroster_pieces(path: Path, _of: str) -> Iterator[Piece]:
    for file in files(path, ".zip"):
        yield Piece(file.name, file.read_bytes(), "application/zip")


def social_security_pieces(path: Path, of: str) -> Iterator[Piece]:
    """CSV or Parquet; the kind from --kind, or from the file's own name (`payments.csv`).

    Of a folder, claims go before their lines.
    """
    kinds = {
        file: of or file.name.partition(".")[0].replace("-", "_") for file in files(path, ".csv", ".parquet")
    }
    for file, kind in kinds.items():
        if kind not in SOCIAL_SECURITY_KINDS:
            raise Refusal(
                f"{file.name}: 请用 --kind 指明内容 · say what it holds with --kind: "
                + ", ".join(SOCIAL_SECURITY_KINDS)
            )
    for file, kind in sorted(kinds.items(), key=lambda item: SOCIAL_SECURITY_KINDS.index(item[1])):
        parquet = file.suffix == ".parquet"
        content_type = "application/vnd.apache.parquet" if parquet else "text/csv"
        yield Piece(file.name, file.read_bytes(), content_type, {"kind": kind})


def readings_pieces(path: Path, _of: str) -> Iterator[Piece]:
    """A JSON array or object in one push; NDJSON in parts of 5,000 lines, in order."""
    for file in files(path, ".json", ".ndjson", ".jsonl"):
        if file.suffix == ".json":
            yield Piece(file.name, file.read_bytes(), "application/json")
            continue
        with file.open("rb") as lines:
            number = 0
            while part := [line for _, line in zip(range(NDJSON_LINES), lines, strict=False)]:
                label = f"{file.name}:{number + 1}-{number + len(part)}"
                yield Piece(label, b"".join(part), "application/x-ndjson")
                number += len(part)


def code_list_pieces(path: Path, _of: str) -> Iterator[Piece]:
    for file in files(path, ".csv"):
        yield Piece(file.name, file.read_bytes(), "text/csv")


def fhir_counts(answer: Any) -> dict[str, int]:
    """Of a transaction-response: how many entries were made, found there already, changed."""
    names = {"201": "created", "200": "matched", "204": "matched"}
    found: dict[str, int] = {}
    for entry in answer.get("entry", []):
        status = str(entry.get("response", {}).get("status", "?")).split()[0]
        name = names.get(status, f"status {status}")
        found[name] = found.get(name, 0) + 1
    return found


def receipt_counts(answer: Any) -> dict[str, int]:
    """Of a receipt: the sums of its numbers over the files it names."""
    found: dict[str, int] = {}
    parts = [part for part in answer.get("files", []) if isinstance(part, dict)] or [answer]
    for part in parts:
        for name, value in part.items():
            if isinstance(value, int) and not isinstance(value, bool):
                found[name] = found.get(name, 0) + value
    if answer.get("duplicate_of"):
        found["sent before"] = 1
    return found


DOORS = {
    "fhir": Door("/fhir", "hospital", fhir_pieces, fhir_counts),
    "oneroster": Door("/education/imports", "school", oneroster_pieces, receipt_counts),
    "social-security": Door(
        "/social-security/imports", "agency", social_security_pieces, receipt_counts, True
    ),
    "readings": Door("/transport/readings", "gate", readings_pieces, receipt_counts, True),
    "terminology": Door("/health/code-lists", "registry", code_list_pieces, receipt_counts),
}


def words_of_answer(content: bytes, status: int) -> str:
    """The reason in an answer: problem+json, an OperationOutcome, an imsx_StatusInfo, or plain text."""
    try:
        body = json.loads(content)
    except ValueError:
        return f"{status} {content[:200].decode(errors='replace')}"
    issues = [
        " ".join(filter(None, [issue.get("diagnostics"), *issue.get("expression", [])]))
        for issue in body.get("issue", [])
    ]
    faults = [
        " ".join(str(fault[name]) for name in ("file", "line", "field", "message") if fault.get(name))
        for fault in body.get("errors", [])[:5]
    ]
    own = body.get("detail") or body.get("imsx_description") or body.get("error_description")
    return f"{status} " + "; ".join([part for part in (own, *faults, *issues[:5]) if part])
