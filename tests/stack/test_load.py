"""What `./run load` sends, and how it tells what became of it."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import httpx
import pytest

from services.stack.clients import ClientFile
from services.stack.load import Outcome, Pusher
from services.stack.pieces import DOORS, Piece, fhir_counts, receipt_counts, words_of_answer
from services.stack.terminal import Refusal


def labels(kind: str, path: Path, of: str = "") -> list[str]:
    return [piece.label for piece in DOORS[kind].pieces(path, of)]


def test_bundles_come_from_files_folders_lines_and_archives(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text('{"b": 1}')
    (tmp_path / "a.json").write_text('{"a": 1}')
    (tmp_path / "c.ndjson").write_text('{"c": 1}\n{"c": 2}\n')
    (tmp_path / "notes.txt").write_text("not a bundle")
    assert labels("fhir", tmp_path / "b.json") == ["b.json"]
    assert labels("fhir", tmp_path) == ["a.json", "b.json", "c.ndjson:1", "c.ndjson:2"]
    archive = tmp_path / "all.tar.xz"
    with tarfile.open(archive, "w:xz") as tar:
        for name in ("deep/x.json", "deep/readme.md"):
            content = b'{"x": 1}'
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    pieces = list(DOORS["fhir"].pieces(archive, ""))
    assert [(piece.label, piece.content) for piece in pieces] == [("x.json", b'{"x": 1}')]


def test_a_truncated_archive_is_refused_by_name(tmp_path: Path) -> None:
    whole = tmp_path / "whole.tar.xz"
    with tarfile.open(whole, "w:xz") as tar:
        member = tarfile.TarInfo("x.json")
        member.size = 200_000
        tar.addfile(member, io.BytesIO(bytes(range(250)) * 800))
    cut = tmp_path / "cut.tar.xz"
    cut.write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(Refusal, match=r"cut\.tar\.xz .* not a readable tar archive"):
        labels("fhir", cut)


@pytest.mark.parametrize("kind", sorted(DOORS))
def test_nothing_to_send_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    with pytest.raises(Refusal, match="not found"):
        labels(kind, tmp_path / "nowhere")
    with pytest.raises(Refusal, match="there is no such file"):
        labels(kind, tmp_path)


def test_claims_go_before_their_lines(tmp_path: Path) -> None:
    for name in ("claim_lines.csv", "claims.csv", "payments.parquet", "contributions.csv"):
        (tmp_path / name).write_bytes(b"x")
    pieces = list(DOORS["social-security"].pieces(tmp_path, ""))
    assert [piece.query["kind"] for piece in pieces] == ["contributions", "payments", "claims", "claim_lines"]
    assert pieces[1].type == "application/vnd.apache.parquet"
    assert DOORS["social-security"].in_order


def test_a_file_of_unknown_kind_must_be_named(tmp_path: Path) -> None:
    file = tmp_path / "2026-10.csv"
    file.write_text("x")
    with pytest.raises(Refusal, match="--kind"):
        labels("social-security", file)
    assert labels("social-security", file, "payments") == ["2026-10.csv"]


def test_readings_go_in_parts_and_in_order(tmp_path: Path) -> None:
    file = tmp_path / "day.ndjson"
    file.write_text("".join(f'{{"seq":{number}}}\n' for number in range(12_001)))
    pieces = list(DOORS["readings"].pieces(file, ""))
    assert [piece.label for piece in pieces] == [
        "day.ndjson:1-5000",
        "day.ndjson:5001-10000",
        "day.ndjson:10001-12001",
    ]
    assert pieces[2].content.splitlines()[-1] == b'{"seq":12000}'
    assert DOORS["readings"].in_order


def test_rosters_are_zips(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "school.zip", "w") as archive:
        archive.writestr("manifest.csv", "x")
    assert labels("oneroster", tmp_path) == ["school.zip"]


def test_the_same_piece_has_the_same_key() -> None:
    assert Piece("a", b"same", "t").key == Piece("b", b"same", "t").key
    assert Piece("a", b"same", "t").key != Piece("a", b"other", "t").key


def test_a_transactions_answer_is_counted_by_outcome() -> None:
    entries = [{"response": {"status": status}} for status in ("201 Created", "201", "200 OK")]
    assert fhir_counts({"entry": entries}) == {"created": 2, "matched": 1}


def test_a_receipt_is_summed_over_its_files() -> None:
    files = [
        {"kind": "claims", "rows_in": 2, "inserted": 2},
        {"kind": "claim_lines", "rows_in": 3, "inserted": 1},
    ]
    assert receipt_counts({"status": "accepted", "files": files}) == {"rows_in": 5, "inserted": 3}
    assert receipt_counts({"files": files[:1], "duplicate_of": "r"})["sent before"] == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            {"detail": "no", "errors": [{"line": 2, "field": "area", "message": "unknown"}]},
            "422 no; 2 area unknown",
        ),
        (
            {"issue": [{"diagnostics": "bad code", "expression": ["Patient.gender"]}]},
            "422 bad code Patient.gender",
        ),
        ({"imsx_description": "bad zip"}, "422 bad zip"),
        ({"error_description": "no such client"}, "422 no such client"),
    ],
    ids=["problem", "OperationOutcome", "imsx_StatusInfo", "oauth"],
)
def test_each_standards_error_is_put_in_words(body: dict[str, object], words: str) -> None:
    assert words_of_answer(json.dumps(body).encode(), 422) == words


async def test_a_push_is_tried_again_under_its_own_key_while_the_suite_restarts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers["idempotency-key"])
        if len(sent) == 1:
            raise httpx.ReadError("the connection was cut")
        return httpx.Response(503) if len(sent) == 2 else httpx.Response(200, json={"entry": []})

    async def at_once(_seconds: float) -> None:
        return None

    async def token(_self: Pusher) -> str:
        return "token"

    monkeypatch.setattr("services.stack.load.asyncio.sleep", at_once)
    monkeypatch.setattr(Pusher, "token", token)
    client = ClientFile("hospital-1", "http://x", "hospital", {})
    outcome = Outcome()
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://x") as http:
        piece = Piece("a.json", b"{}", "application/fhir+json")
        await Pusher(http, DOORS["fhir"], client, "http://x").push(piece, outcome)
    assert outcome.taken == 1
    assert sent == [piece.key] * 3


async def test_a_refusal_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def answer(_request: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        return httpx.Response(422, json={"detail": "no such code"})

    async def token(_self: Pusher) -> str:
        return "token"

    monkeypatch.setattr(Pusher, "token", token)
    outcome = Outcome()
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://x") as http:
        pusher = Pusher(http, DOORS["fhir"], ClientFile("h", "http://x", "hospital", {}), "http://x")
        await pusher.push(Piece("a.json", b"{}", "application/fhir+json"), outcome)
    assert (calls, outcome.taken, outcome.refused) == (1, 0, ["a.json: 422 no such code"])
