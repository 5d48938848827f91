"""Lists of codes as CSV: ICD-10 and its Chinese editions, and whatever a city keeps as a table.

The first line names the columns (`COLUMNS`); a column of another name is a property of the codes. A list is
kept as a version of a code system, and stays as it was loaded: other content is another version.
"""

import asyncio
import csv
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from typing import Literal

from health.repository import terminology as kept
from health.shapes import CodeListReceipt, RefusedCode
from health.terminology.concepts import ConceptRow, ancestors
from services.kit.app import Kit
from services.kit.principals import Principal
from services.kit.problems import Fault, Problem, bad_request, unprocessable

Hierarchy = Literal["none", "parent", "prefix"]
REFUSED_SHOWN = 100
CODE_MAX = 200
RANGES_MAX = 2_000
LEVELS_MAX = 100
"""Codes that one may stand below."""
COLUMNS: Mapping[str, frozenset[str]] = {
    "code": frozenset({"code", "编码", "代码", "疾病编码", "诊断编码", "诊断代码", "主要编码"}),
    "display": frozenset({"display", "name", "名称", "疾病名称", "诊断名称", "中文名称"}),
    "en": frozenset({"display_en", "english", "英文名称", "英文名"}),
    "zh": frozenset({"display_zh", "chinese", "中文名"}),
    "parent": frozenset({"parent", "上级编码", "上级代码", "父级编码", "父编码"}),
    "status": frozenset({"status", "状态"}),
}
_ACTIVE = frozenset({"", "active", "1", "有效", "启用", "使用"})
_INACTIVE = frozenset({"inactive", "retired", "deprecated", "0", "无效", "停用", "废止", "作废"})
_CODE = re.compile(r"\S+(?: \S+)*")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_RANGE = re.compile(r"([A-Z]\d[\dA-Z][\w.]*)\s?[-–~～]\s?([A-Z]\d[\dA-Z][\w.]*)")
_ENCODINGS = {"utf-8": "utf-8", "utf8": "utf-8", "gb18030": "gb18030", "gbk": "gb18030", "gb2312": "gb18030"}
_UTF8_MARK = b"\xef\xbb\xbf"


URI = r"^\S+$"
VERSION = r"^[^\s|]+$"
LANGUAGE = r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$"
OPENAPI = {"requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}}


def charset_of(content_type: str) -> str | None:
    """What a Content-Type says of the encoding. Raises Problem 415 unless it is CSV."""
    message = Message()
    message["content-type"] = content_type
    if message.get_content_type() != "text/csv":
        raise Problem(415, "not_csv", "send the list as text/csv, or text/csv; charset=gb18030")
    return message.get_content_charset()


@dataclass(frozen=True, slots=True)
class CodeList:
    """What a list is, as its sender says.

    Attributes:
        version: None for one named after its content.
        language: of the column `display`.
        hierarchy: what is above a code: nothing, what its column `parent` says, or the longest code that it
            begins with, and above that the narrowest range (`A00-A09`) it stands in.
        charset: as the sender declares it; None to look whether it is UTF-8, and GB 18030 if not.
    """

    system: str
    version: str | None
    title: str | None
    language: str
    hierarchy: Hierarchy
    charset: str | None


@dataclass(slots=True)
class _Line:
    line: int
    display: str
    designations: list[dict[str, str]]
    parent: str
    inactive: bool
    properties: dict[str, list[str]]


@dataclass(slots=True)
class Read:
    """A list as it was read: its codes in order, and what was refused."""

    encoding: str
    columns: list[str] = field(default_factory=list)
    lines: dict[str, _Line] = field(default_factory=dict)
    refused: list[RefusedCode] = field(default_factory=list)
    _parents: dict[str, list[str]] = field(default_factory=dict)

    def refuse(self, line: int, field: str, words: str) -> None:
        self.refused.append(RefusedCode(line=line, field=field, message=words))

    def order(self, hierarchy: Hierarchy) -> None:
        """Says what is above each code, and refuses those of which that cannot be."""
        if hierarchy == "prefix":
            ranges = _ranges(self.lines)
            above = {code: _above(code, self.lines, ranges) for code in self.lines}
        else:
            above = {code: one.parent for code, one in self.lines.items() if hierarchy == "parent"}
        self._parents = {code: [parent] for code, parent in above.items() if parent}
        for code, words in self._wrong().items():
            self.refuse(self.lines.pop(code).line, "parent", words)
            del self._parents[code]

    def _wrong(self) -> dict[str, str]:
        """The codes above which there is what cannot be: each is gone up from once."""
        wrong: dict[str, str] = {}
        levels = {code: 0 for code in self.lines if code not in self._parents}
        for code in self._parents:
            path: list[str] = []
            place: dict[str, int] = {}
            while code in self._parents and not (code in levels or code in wrong or code in place):
                place[code] = len(path)
                path.append(code)
                [code] = self._parents[code]
            if code in place:
                wrong |= {one: f"what is above {one} leads back to it" for one in path[place[code] :]}
                del path[place[code] :]
            for one in reversed(path):
                [parent] = self._parents[one]
                if parent not in levels:
                    wrong[one] = f"{parent} is not in the list, or was refused"
                elif levels[parent] == LEVELS_MAX:
                    wrong[one] = f"{parent} stands {LEVELS_MAX} levels deep already"
                else:
                    levels[one] = levels[parent] + 1
        return wrong

    def rows(self) -> Iterator[ConceptRow]:
        for n, (code, line) in enumerate(self.lines.items()):
            yield ConceptRow(
                n=n,
                code=code,
                display=line.display,
                parents=self._parents.get(code, []),
                ancestors=ancestors(code, self._parents),
                designations=list(line.designations),
                properties=dict(line.properties),
                inactive=line.inactive,
                abstract=False,
            )


async def load(kit: Kit, who: Principal, raw: bytes, about: CodeList) -> tuple[CodeListReceipt, bool]:
    """Keeps a list; the same one sent again has the same receipt. Whether it was kept before comes along.

    Raises:
        Problem: 400 for what is no CSV in a known encoding, 422 for another content of a version that there
            is, or when nothing of it can be taken.
    """
    digest = hashlib.sha256(repr(about).encode() + raw).hexdigest()
    version = about.version or digest[:12]
    async with kit.db.session() as db:
        before = await kept.receipt(db, about.system, version)
    if before is None:
        read = await asyncio.to_thread(read_list, raw, about)
        receipt = _receipt(read, about, version, digest)
        if not read.lines:
            faults = [Fault(one.message, line=one.line, field=one.field) for one in receipt.faults]
            raise unprocessable("no_codes", "nothing of the list could be taken", *faults)
        async with kit.db.transaction(who) as tx:
            said = {
                "url": about.system,
                "version": version,
                "title": about.title or about.system,
                "language": about.language,
                "properties": dict.fromkeys(read.columns, "string"),
            }
            if await kept.keep_list(tx, said, receipt.model_dump(mode="json"), read.rows()):
                await tx.leaf(
                    action="terminology.load",
                    records=receipt.taken,
                    resource=f"{about.system}|{version}",
                    batch_hash=digest,
                )
                return receipt, False
            before = await kept.receipt(tx, about.system, version)
    assert before is not None
    if before["receipt"] is None or before["receipt"]["digest"] != digest:
        words = f"version {version} of {about.system} is there with other content: name another version"
        raise unprocessable("version_taken", words)
    return CodeListReceipt(**before["receipt"]), True


def _receipt(read: Read, about: CodeList, version: str, digest: str) -> CodeListReceipt:
    refused = sorted(read.refused, key=lambda one: one.line)
    return CodeListReceipt(
        system=about.system,
        version=version,
        encoding=read.encoding,
        taken=len(read.lines),
        refused=len({one.line for one in refused}),
        faults=refused[:REFUSED_SHOWN],
        digest=digest,
    )


def read_list(raw: bytes, about: CodeList) -> Read:
    """Reads a list; blocks for about a second for each 100,000 codes."""
    text, encoding = _decoded(raw, about.charset)
    read = Read(encoding)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, [])
        columns = _columns(header)
        read.columns = [name for name in columns if name not in COLUMNS]
        begun = rows.line_num + 1
        for cells in rows:
            if any(cell.strip() for cell in cells):
                _take(read, begun, columns, cells, about.language)
            begun = rows.line_num + 1
    except csv.Error as error:
        words = f"line {rows.line_num} is no CSV: {error}"
        raise bad_request("not_csv", words, Fault(str(error), line=rows.line_num)) from error
    read.order(about.hierarchy)
    return read


def _decoded(raw: bytes, charset: str | None) -> tuple[str, str]:
    if charset is not None and charset.lower() not in _ENCODINGS:
        raise bad_request("wrong_encoding", f"{charset} is not taken; send UTF-8 or GB 18030")
    wanted = _ENCODINGS[charset.lower()] if charset is not None else None
    if raw.startswith(_UTF8_MARK):
        raw, wanted = raw.removeprefix(_UTF8_MARK), "utf-8"
    for encoding in [wanted] if wanted else ["utf-8", "gb18030"]:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text, encoding
    raise bad_request("wrong_encoding", f"the list is not {wanted or 'UTF-8 or GB 18030'}")


def _columns(header: Sequence[str]) -> list[str]:
    """The name of each column as `COLUMNS` has it; another is a property's."""
    said = [cell.strip() for cell in header]
    known = {alias: name for name, aliases in COLUMNS.items() for alias in aliases}
    columns = [known.get(cell.lower(), cell) for cell in said]
    faults = [
        Fault(f"two columns are {cell!r}, or mean the same", line=1, field=cell)
        for n, cell in enumerate(said)
        if columns[n] in columns[:n]
    ]
    faults += [Fault("a column has no name", line=1) for cell in said if not cell]
    if "code" not in columns or not {"display", "zh", "en"} & set(columns):
        words = (
            "the first line names a column `code` (编码) and `display` (名称), `display_zh` or `display_en`"
        )
        faults.append(Fault(words, line=1, field="code"))
    if faults:
        raise unprocessable("wrong_header", "the columns of the list cannot be told", *faults)
    return columns


def _take(read: Read, line: int, columns: Sequence[str], cells: Sequence[str], language: str) -> None:
    if len(cells) != len(columns):
        read.refuse(line, "", f"the line has {len(cells)} cells, the first line {len(columns)}")
        return
    said = {name: cell.strip() for name, cell in zip(columns, cells, strict=True)}
    texts = [(of, said.get(name, "")) for name, of in (("display", language), ("zh", "zh"), ("en", "en"))]
    texts = [(of, text) for of, text in texts if text]
    if (wrong := _wrong(read, said, texts)) is not None:
        read.refuse(line, *wrong)
        return
    _, display = texts[0]
    read.lines[said["code"]] = _Line(
        line=line,
        display=display,
        designations=[{"language": of, "value": text} for of, text in texts if text != display],
        parent=said.get("parent", ""),
        inactive=said.get("status", "").lower() in _INACTIVE,
        properties={name: [said[name]] for name in read.columns if said[name]},
    )


def _wrong(read: Read, said: Mapping[str, str], texts: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """The column in which something is wrong, and what."""
    code = said["code"]
    if len(code) > CODE_MAX or not _CODE.fullmatch(code):
        return "code", f"a code has 1 to {CODE_MAX} characters, and single spaces at most"
    if code in read.lines:
        return "code", f"{code} stands in line {read.lines[code].line} already"
    if not texts:
        return "display", "a code has a display"
    if said.get("status", "").lower() not in _ACTIVE | _INACTIVE:
        return "status", "a status is active (有效) or inactive (停用)"
    marked = next((name for name, cell in said.items() if _CONTROL.search(cell)), None)
    return (marked, "there is a control character") if marked else None


def _ranges(codes: Mapping[str, _Line]) -> list[tuple[str, str, str]]:
    """Codes that are ranges of others: low, high, code; of those around a code the narrowest is the last."""
    found = [(m[1], m[2], code) for code in codes if (m := _RANGE.fullmatch(code))]
    if len(found) > RANGES_MAX:
        raise unprocessable("too_many_ranges", f"a list has at most {RANGES_MAX:,} codes that are ranges")
    found.sort(key=lambda one: one[1], reverse=True)
    found.sort(key=lambda one: one[0])
    return found


def _above(code: str, codes: Mapping[str, _Line], ranges: Sequence[tuple[str, str, str]]) -> str:
    """The longest code that it begins with, else the narrowest range it is in; "" for none."""
    own = _RANGE.fullmatch(code)
    if own is None:
        for length in range(len(code) - 1, 0, -1):
            if code[:length] in codes:
                return code[:length]
    low, high = (own[1], own[2]) if own else (code, code)
    for first, last, name in reversed(ranges):
        if name != code and first <= low[: len(first)] and high[: len(last)] <= last:
            return name
    return ""
