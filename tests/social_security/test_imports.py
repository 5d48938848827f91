"""POST /social-security/imports: what is taken, what is refused and why; a refusal changes nothing."""

import asyncio
import io
import uuid
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import asyncpg
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.identity.client import IdentityClient
from services.kit.calls import DomainError
from social_security.imports import people
from social_security.imports.checks import Refused
from tests.social_security.conftest import CSV, SCOPE, Door, door_of
from tests.social_security.pushes import COLUMNS, claim, contribution, csv_of, line, number, payment

PARQUET = {"content-type": "application/vnd.apache.parquet"}


def counts(receipt: Any) -> dict[str, int]:
    (file,) = receipt["files"]
    return {name: file[name] for name in ("rows_in", "inserted", "updated", "unchanged", "refused")}


class TestWhoMayPush:
    async def test_nobody_without_a_token(self, door: Door) -> None:
        nobody = await door.house.client("social_security", scopes=None)
        answer = await nobody.post("/social-security/imports?kind=payments", content=b"", headers=CSV)
        assert answer.status_code == 401

    async def test_nobody_without_the_scope(self, door: Door) -> None:
        auditor = await door.house.client("social_security", scopes="social_security:findings:read")
        answer = await auditor.post("/social-security/imports?kind=payments", content=b"", headers=CSV)
        assert answer.status_code == 403
        assert answer.json()["code"] == "insufficient_scope"

    async def test_nobody_with_a_token_for_another_service(self, door: Door) -> None:
        token = door.house.token("health", scopes=SCOPE)
        stranger = await door.house.client("social_security", token=token)
        answer = await stranger.post("/social-security/imports?kind=payments", content=b"", headers=CSV)
        assert answer.status_code == 401

    async def test_a_receipt_is_its_organisations_own(self, door: Door) -> None:
        receipt = (await door.push_rows("payments", payment())).json()
        path = f"/social-security/imports/{receipt['receipt_id']}"
        other = (await door_of(door.house)).client
        assert (await other.get(path)).status_code == 404
        assert (await door.client.get(path)).json()["receipt_id"] == receipt["receipt_id"]


class TestTaking:
    async def test_every_row_with_one_leaf_and_one_event(self, door: Door) -> None:
        answer = await door.push_rows("payments", payment("p1", 1), payment("p2", 2))
        assert answer.status_code == 201, answer.text
        receipt = answer.json()
        assert counts(receipt) == {"rows_in": 2, "inserted": 2, "updated": 0, "unchanged": 0, "refused": 0}
        assert receipt["status"] == "accepted"
        assert answer.headers["location"] == f"/social-security/imports/{receipt['receipt_id']}"
        leaves = await door.rows("select body::jsonb from leaf where body::jsonb->>'organisation' = $1")
        assert len(leaves) == 1
        assert leaves[0]["body"]["batch_hash"] == receipt["sha256"]
        assert leaves[0]["body"]["records"] == 2
        assert leaves[0]["body"]["subjects_count"] == 2
        events = await door.rows("select type, body from outbox where aggregate = $1")
        assert [event["type"] for event in events] == ["social_security.import.accepted"]
        assert receipt["receipt_id"] in str(events[0]["body"])

    async def test_no_citizen_number_is_kept(self, door: Door) -> None:
        assert (await door.push_rows("contributions", contribution(name="王秀英"))).status_code == 201
        rows = await door.rows(
            "select c::text as text from contribution c where organisation = $1 union all "
            "select body::text from outbox where aggregate = $1 union all "
            "select body from leaf where body::jsonb->>'organisation' = $1 union all "
            "select r::text from receipt r where organisation = $1"
        )
        assert len(rows) == 4
        assert not [row for row in rows if number(1) in row["text"] or "王秀英" in row["text"]]

    async def test_the_same_push_again_gets_the_same_receipt(self, door: Door) -> None:
        first = (await door.push_rows("payments", payment())).json()
        again = await door.push_rows("payments", payment())
        assert again.status_code == 200
        assert again.json() == first | {"duplicate_of": first["receipt_id"]}
        assert await door.kept() == 2

    async def test_the_same_push_after_others_gets_its_receipt_too(self, door: Door) -> None:
        first = (await door.push_rows("payments", payment("p1"))).json()
        await door.push_rows("payments", payment("p2"))
        again = await door.push_rows("payments", payment("p1"))
        assert again.json() == first | {"duplicate_of": first["receipt_id"]}
        assert await door.kept() == 4

    async def test_going_back_to_an_earlier_version_is_a_new_push(self, door: Door) -> None:
        first = (await door.push_rows("payments", payment(amount="100.00"))).json()
        await door.push_rows("payments", payment(amount="200.00"))
        back = await door.push_rows("payments", payment(amount="100.00"))
        assert back.status_code == 201
        assert back.json()["receipt_id"] != first["receipt_id"]
        assert counts(back.json())["updated"] == 1
        rows = await door.rows(
            "select amount, superseded_at is null as current from payment where organisation = $1 "
            "order by recorded_at"
        )
        assert [(str(row["amount"]), row["current"]) for row in rows] == [
            ("100.00", False),
            ("200.00", False),
            ("100.00", True),
        ]

    async def test_a_late_retry_with_its_key_changes_nothing(self, door: Door) -> None:
        first = (await door.push_rows("payments", payment(amount="100.00"), key="k-1")).json()
        await door.push_rows("payments", payment(amount="200.00"), key="k-2")
        late = await door.push_rows("payments", payment(amount="100.00"), key="k-1")
        assert late.json() == first | {"duplicate_of": first["receipt_id"]}
        rows = await door.rows("select amount from payment where organisation = $1 and superseded_at is null")
        assert [str(row["amount"]) for row in rows] == ["200.00"]

    async def test_a_key_holds_for_a_repetition_that_changed_nothing_too(self, door: Door) -> None:
        first = (await door.push_rows("payments", payment("p1", amount="100.00"))).json()
        await door.push_rows("payments", payment("p2"))
        again = await door.push_rows("payments", payment("p1", amount="100.00"), key="k-1")
        await door.push_rows("payments", payment("p1", amount="200.00"))
        late = await door.push_rows("payments", payment("p1", amount="100.00"), key="k-1")
        assert again.json()["duplicate_of"] == late.json()["duplicate_of"] == first["receipt_id"]
        rows = await door.rows(
            "select amount from payment where organisation = $1 and payment_id = 'p1' "
            "and superseded_at is null"
        )
        assert [str(row["amount"]) for row in rows] == ["200.00"]

    async def test_a_key_with_another_body_is_refused(self, door: Door) -> None:
        await door.push_rows("payments", payment("p1"), key="k-1")
        answer = await door.push_rows("payments", payment("p2"), key="k-1")
        assert answer.status_code == 422
        assert answer.json()["code"] == "idempotency_key_reused"

    async def test_a_corrected_row_is_a_new_version_and_the_old_one_stays(self, door: Door) -> None:
        await door.push_rows("payments", payment("p1", amount="100.00"), payment("p2"))
        answer = await door.push_rows("payments", payment("p1", amount="101.00"), payment("p2"))
        assert counts(answer.json()) == {
            "rows_in": 2, "inserted": 0, "updated": 1, "unchanged": 1, "refused": 0
        }  # fmt: skip
        rows = await door.rows(
            "select recorded_at, superseded_at from payment where organisation = $1 and payment_id = 'p1' "
            "order by 1"
        )
        assert rows[0]["superseded_at"] == rows[1]["recorded_at"]
        assert rows[1]["superseded_at"] is None

    async def test_keys_are_each_organisations_own(self, door: Door) -> None:
        await door.push_rows("payments", payment("p1", amount="100.00"))
        other = (await door_of(door.house)).client
        body = csv_of("payments", [payment("p1", amount="999.00")])
        answer = await other.post("/social-security/imports?kind=payments", content=body, headers=CSV)
        assert counts(answer.json())["inserted"] == 1

    async def test_a_row_repeated_word_for_word_counts_once(self, door: Door) -> None:
        answer = await door.push_rows("payments", payment("p1"), payment("p1"), payment("p2"))
        assert counts(answer.json()) == {
            "rows_in": 3, "inserted": 2, "updated": 0, "unchanged": 1, "refused": 0
        }  # fmt: skip

    async def test_claims_and_their_lines_together(self, door: Door) -> None:
        answer = await door.push_together(
            claim_lines=csv_of("claim_lines", [line("c1", 1), line("c1", 2)]),
            claims=csv_of("claims", [claim()]),
        )
        assert answer.status_code == 201, answer.text
        assert [(file["kind"], file["inserted"]) for file in answer.json()["files"]] == [
            ("claims", 1),
            ("claim_lines", 2),
        ]

    async def test_lines_of_a_claim_kept_before(self, door: Door) -> None:
        await door.push_rows("claims", claim())
        assert (await door.push_rows("claim_lines", line())).status_code == 201

    async def test_a_byte_order_mark_and_columns_in_any_order(self, door: Door) -> None:
        row = payment()
        del row["account_hash"]
        body = csv_of("payments", [row], sorted(row))
        answer = await door.push("payments", b"\xef\xbb\xbf" + body)
        assert answer.status_code == 201, answer.text

    async def test_gb18030_that_is_declared(self, door: Door) -> None:
        body = csv_of("contributions", [contribution(name="欧阳娜娜")]).decode().encode("gb18030")
        answer = await door.client.post(
            "/social-security/imports?kind=contributions",
            content=body,
            headers={"content-type": "text/csv; charset=GB18030"},
        )
        assert answer.status_code == 201, answer.text

    async def test_one_person_under_many_rows_is_one_person(self, door: Door) -> None:
        await door.push_rows("payments", *(payment(f"p{i}", person=i % 3) for i in range(30)))
        assert len(await door.rows("select distinct person from payment where organisation = $1")) == 3

    async def test_an_unknown_parameter_is_refused(self, door: Door) -> None:
        answer = await door.push_rows("payments", payment(), dry_run="1")
        assert answer.status_code == 400
        assert answer.json()["code"] == "unknown_parameter"


def _faults(answer: httpx.Response) -> list[tuple[int, str, str]]:
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "rows_refused"
    return [(fault["line"], fault["field"], fault["code"]) for fault in answer.json()["errors"]]


class TestRefusing:
    async def test_each_fault_names_line_field_and_rule_and_nothing_is_applied(self, door: Door) -> None:
        await door.push_rows("payments", payment("before"))
        before = await door.kept()
        answer = await door.push_rows(
            "payments", payment("p1"), payment("p2", period="2026-13"), payment("p3", amount="x", area="1")
        )
        assert _faults(answer) == [
            (3, "period", "period"),
            (4, "area", "gbt2260"),
            (4, "amount", "decimal_14_2"),
        ]
        assert await door.kept() == before

    async def test_a_checksum_failure_is_masked(self, door: Door) -> None:
        good = number(1)
        bad = good[:-1] + ("1" if good[-1] != "1" else "2")
        answer = await door.push_rows("payments", payment(citizen_number=bad))
        assert _faults(answer) == [(2, "citizen_number", "gb11643_checksum")]
        assert bad not in answer.text
        assert answer.json()["errors"][0]["value"] == f"{bad[:3]}*************{bad[-2:]}"

    async def test_a_number_in_the_wrong_column_is_masked_too(self, door: Door) -> None:
        answer = await door.push_rows("payments", payment(scheme=number(1)))
        assert number(1) not in answer.text

    async def test_a_discharge_before_the_admission(self, door: Door) -> None:
        answer = await door.push_rows("claims", claim(admitted_on="2026-03-10", discharged_on="2026-03-09"))
        assert _faults(answer) == [(2, "discharged_on", "stay_order")]

    async def test_a_key_twice_with_other_values_refuses_both(self, door: Door) -> None:
        answer = await door.push_rows("payments", payment("p1", amount="1.00"), payment("p1", amount="2.00"))
        assert _faults(answer) == [(2, "payment_id", "key_twice"), (3, "payment_id", "key_twice")]

    async def test_a_line_without_its_claim(self, door: Door) -> None:
        answer = await door.push_rows("claim_lines", line("c404"))
        assert _faults(answer) == [(2, "claim_id", "unknown_claim")]
        assert await door.kept() == 0

    async def test_another_organisations_claim_is_no_claim(self, door: Door) -> None:
        await door.push_rows("claims", claim())
        other = (await door_of(door.house)).client
        body = csv_of("claim_lines", [line()])
        answer = await other.post("/social-security/imports?kind=claim_lines", content=body, headers=CSV)
        assert _faults(answer) == [(2, "claim_id", "unknown_claim")]

    async def test_rows_of_another_width_and_quoted_lines_keep_the_count(self, door: Door) -> None:
        body = csv_of("claim_lines", [line(item_name="a\nb"), line(line_no=2)]) + b"c1,3\n"
        assert [(line, code) for line, _, code in _all(await door.push("claim_lines", body))] == [
            (2, "control_character"),
            (5, "field_count"),
        ]

    async def test_a_hundred_faults_are_named_and_all_are_counted(self, door: Door) -> None:
        answer = await door.push_rows("payments", *(payment(f"p{i}", period="never") for i in range(150)))
        assert len(answer.json()["errors"]) == 100
        assert answer.json()["refused"] == {"payments": 150}

    async def test_too_many_faults_end_the_reading(self, door: Door) -> None:
        answer = await door.push_rows(
            "payments", *(payment(f"p{i}", period="never") for i in range(20_000)), mode="accept-valid"
        )
        assert answer.status_code == 422
        assert answer.json()["refused_more"] is True
        assert await door.kept() == 0


def _all(answer: httpx.Response) -> list[tuple[int, str | None, str]]:
    return [(fault["line"], fault.get("field"), fault["code"]) for fault in answer.json()["errors"]]


class TestWhoIdentityCannotPlace:
    @pytest.fixture
    def puzzled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Identity finds a contradiction in whoever is number 2."""
        genuine = people.resolve

        async def resolve(
            identity: IdentityClient, organisation: str, pushed: Sequence[people.Person]
        ) -> people.Found:
            others = [person for person in pushed if person.number != number(2)]
            found = await genuine(identity, organisation, others)
            problem = Refused("person_conflict", "the register knows somebody else under it")
            return people.Found(found.people, {number(2): problem})

        monkeypatch.setattr(people, "resolve", resolve)

    async def test_refuses_the_rows_that_carry_the_number(self, door: Door, puzzled: None) -> None:
        rows = [payment("p1", 1), payment("p2", 2), payment("p3", 2, period="2026-02")]
        answer = await door.push_rows("payments", *rows)
        assert _faults(answer) == [
            (3, "citizen_number", "person_conflict"),
            (4, "citizen_number", "person_conflict"),
        ]
        assert number(2) not in answer.text
        assert await door.kept() == 0
        in_part = await door.push_rows("payments", *rows, mode="accept-valid")
        assert (counts(in_part.json())["inserted"], counts(in_part.json())["refused"]) == (1, 2)

    async def test_while_it_is_away_nothing_is_taken(
        self, door: Door, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(
            identity: IdentityClient, organisation: str, pushed: Sequence[people.Person]
        ) -> people.Found:
            raise DomainError("identity", "SERVICE_UNAVAILABLE", "the service cannot be reached")

        monkeypatch.setattr(people, "resolve", away)
        answer = await door.push_rows("payments", payment())
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert await door.kept() == 0


class TestAcceptValid:
    async def test_good_rows_are_taken_and_the_others_named(self, door: Door) -> None:
        answer = await door.push_rows(
            "payments", payment("p1"), payment("p2", period="never"), payment("p3"), mode="accept-valid"
        )
        assert answer.status_code == 201, answer.text
        receipt = answer.json()
        assert receipt["status"] == "accepted_in_part"
        assert counts(receipt) == {"rows_in": 3, "inserted": 2, "updated": 0, "unchanged": 0, "refused": 1}
        refused = await door.client.get(f"/social-security/imports/{receipt['receipt_id']}/refusals")
        assert [(row["kind"], row["line"]) for row in refused.json()["items"]] == [("payments", 3)]
        assert refused.json()["items"][0]["faults"][0]["code"] == "period"

    async def test_a_refused_claim_takes_its_lines_with_it(self, door: Door) -> None:
        parts = {
            "claims": ("a", csv_of("claims", [claim("c1"), claim("c2", total="x")]), "text/csv"),
            "claim_lines": ("b", csv_of("claim_lines", [line("c1"), line("c2")]), "text/csv"),
        }
        answer = await door.client.post("/social-security/imports?mode=accept-valid", files=parts)
        assert [(file["inserted"], file["refused"]) for file in answer.json()["files"]] == [(1, 1), (1, 1)]

    async def test_refused_rows_that_can_be_taken_later_are(self, door: Door) -> None:
        both = [line("c1"), line("c2")]
        await door.push_rows("claims", claim("c1"))
        first = await door.push_rows("claim_lines", *both, mode="accept-valid")
        assert counts(first.json())["refused"] == 1
        await door.push_rows("claims", claim("c2"))
        again = await door.push_rows("claim_lines", *both, mode="accept-valid")
        assert counts(again.json()) == {
            "rows_in": 2, "inserted": 1, "updated": 0, "unchanged": 1, "refused": 0
        }  # fmt: skip


ONE = csv_of("payments", [payment()])
NONE: list[tuple[str, bytes, str, str]] = [
    ("UTF-16", ONE.decode().encode("utf-16"), "wrong_encoding", "UTF-16"),
    ("GB 18030", "payment_id,姓名\n".encode("gb18030"), "wrong_encoding", "GB 18030"),
    ("no encoding", b"payment_id\n\xff\xff\xff\n", "wrong_encoding", "line 2"),
    ("Excel", b"PK\x03\x04rest", "not_csv", "Excel"),
    ("Parquet", b"PAR1rest", "not_csv", "Parquet"),
    ("semicolons", b"payment_id;amount\n1;2\n", "wrong_columns", "commas"),
    ("a wrong column", ONE.replace(b"amount", b"ammount"), "wrong_columns", "did you mean amount?"),
    ("a column twice", ONE.replace(b"paid_on", b"period"), "wrong_columns", "period is given twice"),
    ("no rows", csv_of("payments", []), "no_rows", "no rows"),
    ("an open quote", ONE + b'"never closed', "malformed_csv", "line 3"),
    ("nothing", b"", "empty_body", "empty"),
]


class TestFilesThatAreNone:
    @pytest.mark.parametrize(("body", "code", "words"), [n[1:] for n in NONE], ids=[n[0] for n in NONE])
    async def test_are_refused_by_name(self, door: Door, body: bytes, code: str, words: str) -> None:
        answer = await door.push("payments", body)
        assert answer.status_code == 400, answer.text
        assert answer.json()["code"] == code
        assert words in answer.text
        assert await door.kept() == 0

    async def test_without_a_kind(self, door: Door) -> None:
        answer = await door.client.post("/social-security/imports", content=b"x", headers=CSV)
        assert (answer.status_code, answer.json()["code"]) == (400, "missing_kind")

    async def test_of_another_media_type(self, door: Door) -> None:
        answer = await door.client.post("/social-security/imports?kind=payments", json={"payment_id": "p1"})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")

    async def test_under_an_unknown_name(self, door: Door) -> None:
        answer = await door.push_together(paiments=b"x")
        assert (answer.status_code, answer.json()["code"]) == (400, "wrong_parts")

    async def test_a_form_says_no_digest(self, door: Door) -> None:
        """It would be of the whole form, which nobody keeps: one that is not checked must not seem to be."""
        answer = await door.client.post(
            "/social-security/imports",
            files={"payments": ("p.csv", b"payment_id", "text/csv")},
            headers={"content-digest": "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"},
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "digest_of_a_form")

    @pytest.mark.parametrize("digest", ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "abcde"])
    async def test_that_changed_on_the_way(self, door: Door, digest: str) -> None:
        answer = await door.client.post(
            "/social-security/imports?kind=payments",
            content=csv_of("payments", [payment()]),
            headers={**CSV, "content-digest": f"sha-256=:{digest}:"},
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "digest_mismatch")


def _parquet(rows: list[dict[str, Any]], **types: Any) -> bytes:
    fields = [(name, types.get(name, pa.string())) for name in rows[0]]
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(fields)), target)
    return target.getvalue()


async def _push_parquet(door: Door, body: bytes) -> httpx.Response:
    return await door.client.post("/social-security/imports?kind=payments", content=body, headers=PARQUET)


class TestParquet:
    async def test_typed_columns_are_the_rows_their_csv_would_be(self, door: Door) -> None:
        rows = [
            payment("p1")
            | {"amount": Decimal("3200.500000"), "paid_on": date(2026, 3, 20), "account_hash": None}
        ]
        body = _parquet(rows, amount=pa.decimal128(20, 6), paid_on=pa.date32())
        answer = await door.client.post(
            "/social-security/imports?kind=payments", content=body, headers=PARQUET
        )
        assert answer.status_code == 201, answer.text
        kept = await door.rows(
            "select amount::text, paid_on::text, account_hash from payment where organisation = $1"
        )
        assert kept == [{"amount": "3200.50", "paid_on": "2026-03-20", "account_hash": None}]

    async def test_floats_are_no_money(self, door: Door) -> None:
        body = _parquet([payment() | {"amount": 0.1}], amount=pa.float64())
        answer = await door.client.post(
            "/social-security/imports?kind=payments", content=body, headers=PARQUET
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "wrong_column_type")
        assert answer.json()["errors"][0]["field"] == "amount"

    async def test_a_fault_names_the_row(self, door: Door) -> None:
        body = _parquet([payment("p1"), payment("p2", period="never")])
        answer = await door.client.post(
            "/social-security/imports?kind=payments", content=body, headers=PARQUET
        )
        assert _faults(answer) == [(2, "period", "period")]

    async def test_a_file_that_unpacks_to_more_than_the_machine_has(self, door: Door) -> None:
        rows = 60_000
        columns = {name: pa.array([payment()[name]] * rows) for name in COLUMNS["payments"]}
        long = pa.array(["x" * 100_000])
        columns["scheme"] = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), long)
        target = io.BytesIO()
        pq.write_table(pa.table(columns), target, compression="zstd")
        assert len(target.getvalue()) < 1_000_000
        answer = await _push_parquet(door, target.getvalue())
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_parquet")

    async def test_a_file_cut_short(self, door: Door) -> None:
        body = _parquet([payment()])[:-40]
        answer = await door.client.post(
            "/social-security/imports?kind=payments", content=body, headers=PARQUET
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_parquet")


class TestWhatIsKept:
    @pytest.mark.parametrize("table", ["contribution", "payment", "claim", "claim_line"])
    async def test_cannot_be_rewritten_or_deleted(self, door: Door, table: str) -> None:
        answer = await door.push_together(
            contributions=csv_of("contributions", [contribution()]),
            payments=csv_of("payments", [payment()]),
            claims=csv_of("claims", [claim()]),
            claim_lines=csv_of("claim_lines", [line()]),
        )
        assert answer.status_code == 201
        database = door.house.kit("social_security").db
        for sql in (f"update {table} set currency = 'USD'", f"delete from {table}"):
            with pytest.raises(asyncpg.RestrictViolationError):
                async with database.transaction() as tx:
                    await tx.execute(sql)

    async def test_pushes_of_one_organisation_take_turns(self, door: Door) -> None:
        bodies = [csv_of("payments", [payment(f"p{i}", person=i) for i in range(200)]) for _ in range(4)]
        answers = await asyncio.gather(*(door.push("payments", body) for body in bodies))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
        assert len({answer.json()["receipt_id"] for answer in answers}) == 1

    async def test_is_counted_for_services_alone(self, door: Door) -> None:
        await door.push_rows("payments", payment("p1"), payment("p2"))
        assert (await door.client.get("/social-security/counts")).status_code == 403
        gateway = await door.house.client("social_security", kind="service", subject="service:gateway")
        found = (await gateway.get("/social-security/counts")).json()
        assert found.keys() == {"contributions", "payments", "claims", "claim_lines", "findings"}
        assert found["payments"] >= 2

    async def test_an_unknown_receipt(self, door: Door) -> None:
        answer = await door.client.get(f"/social-security/imports/{uuid.uuid4()}")
        assert answer.status_code == 404
