"""Everything that can be wrong with a roster, each with its rule and what to do, in English and Chinese.

`{…}` in a text is filled from the fault's `about`. A receipt keeps codes and values, never texts, so that a
better wording also reaches old receipts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Fault:
    """One fault in what was sent. `line` is the physical line in the file, quoted line breaks counted."""

    code: str
    file: str = ""
    line: int | None = None
    column: str | None = None
    sourced_id: str | None = None
    value: str | None = None
    """What stood there, masked."""
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rule(self) -> "Rule":
        return RULES[self.code]

    def said(self) -> "Said":
        return Said(*(text.format_map(_Given(self.about)) for text in self.rule.texts))


@dataclass(frozen=True)
class Said:
    message: str
    message_zh: str
    hint: str
    hint_zh: str


@dataclass(frozen=True)
class Rule:
    severity: Severity
    texts: tuple[str, str, str, str]


class _Given(dict[str, Any]):
    def __missing__(self, name: str) -> str:
        return "…"


_LONG_DIGITS = re.compile(r"[0-9]{6,}[0-9Xx]?")
SHOWN = 60


def masked(value: str, *, personal: bool) -> str:
    """What a receipt may show of a value: nothing of a person's but its ends, no long number whole."""
    if personal:
        kept = 1 if len(value) < 6 else 2
        return value[:kept] + "•" * min(max(len(value) - 2 * kept, 1), 12) + value[len(value) - kept :]
    shown = value if len(value) <= SHOWN else value[:SHOWN] + "…"
    return _LONG_DIGITS.sub(lambda found: found[0][:2] + "•" * (len(found[0]) - 4) + found[0][-2:], shown)


def _error(message: str, message_zh: str, hint: str, hint_zh: str) -> Rule:
    return Rule("error", (message, message_zh, hint, hint_zh))


def _warning(message: str, message_zh: str, hint: str, hint_zh: str) -> Rule:
    return Rule("warning", (message, message_zh, hint, hint_zh))


_ARCHIVE = {
    "unreadable_zip": _error(
        "The body is not a complete zip archive ({reason}).",
        "上传内容不是完整的 zip 压缩包（{reason}）。",
        "Make the zip again and send all of it as application/zip.",
        "请重新打包，并以 application/zip 完整上传。",
    ),
    "encrypted_zip": _error(
        "{name} is encrypted.",
        "{name} 已加密。",
        "Send the zip without a password; the connection is what protects it.",
        "请上传无密码的压缩包，传输通道已加密。",
    ),
    "unsupported_compression": _error(
        "{name} is compressed with method {method}.",
        "{name} 使用了不支持的压缩方式 {method}。",
        "Use deflate, the usual method of zip programs, or store without compression.",
        "请使用常见的 deflate 压缩或不压缩。",
    ),
    "unsafe_name": _error(
        "The archive holds a path that leads out of it: {name}.",
        "压缩包中含有越界路径：{name}。",
        "Put the CSV files at the top level of the zip, without folders.",
        "请把 CSV 文件直接放在压缩包根目录，不要带文件夹。",
    ),
    "file_in_folder": _error(
        "{name} lies in a folder.",
        "{name} 位于文件夹内。",
        "Put the CSV files at the top level of the zip, without folders.",
        "请把 CSV 文件直接放在压缩包根目录，不要带文件夹。",
    ),
    "duplicate_file": _error(
        "{name} is in the archive twice.",
        "{name} 在压缩包中出现两次。",
        "Keep one of them.",
        "请只保留一个。",
    ),
    "unknown_file": _error(
        "{name} is not a file of OneRoster 1.2.",
        "{name} 不是 OneRoster 1.2 规定的文件。",
        "Nearest: {nearest}. Names are written as in the standard, capitals included.",
        "最接近的文件名：{nearest}。文件名须与标准一致，区分大小写。",
    ),
    "too_much_data": _error(
        "Unpacked, {name} has {bytes} bytes; {limit} are taken.",
        "{name} 解压后为 {bytes} 字节，上限为 {limit} 字节。",
        "Split the push by school.",
        "请按学校拆分后分别上传。",
    ),
    "compressed_too_far": _error(
        "{name} unpacks to {ratio} times its size, which no roster does.",
        "{name} 解压后膨胀 {ratio} 倍，不像名册数据。",
        "Make the zip again from the CSV files.",
        "请用原始 CSV 文件重新打包。",
    ),
}

_MANIFEST = {
    "manifest_missing": _error(
        "manifest.csv is missing.",
        "缺少 manifest.csv。",
        "Add it: rows of propertyName,value with the version, and for each file bulk, delta or absent.",
        "请添加该文件：以 propertyName,value 逐行写明版本，以及每个文件是 bulk、delta 还是 absent。",
    ),
    "manifest_property_unknown": _error(
        "{name} is not a property of the manifest.",
        "清单中没有名为 {name} 的属性。",
        "Nearest: {nearest}.",
        "最接近的属性：{nearest}。",
    ),
    "manifest_property_twice": _error(
        "{name} is set twice.",
        "属性 {name} 出现两次。",
        "Keep one of the rows.",
        "请只保留一行。",
    ),
    "manifest_property_missing": _error(
        "The manifest does not set {name}.",
        "清单缺少属性 {name}。",
        "Add the row {name},{example}.",
        "请添加一行：{name},{example}。",
    ),
    "version_not_supported": _error(
        "{name} is {found}; this door speaks {wanted}.",
        "{name} 为 {found}，本接口支持 {wanted}。",
        "Export as OneRoster 1.2; the columns of 1.1 differ.",
        "请按 OneRoster 1.2 导出；1.1 的列不同。",
    ),
    "mode_unknown": _error(
        "A file is bulk, delta or absent, not {found}.",
        "文件方式只能是 bulk、delta 或 absent，不能是 {found}。",
        "bulk: the file is everything there is; delta: only what changed; absent: not sent.",
        "bulk 为全量，delta 为变更，absent 为不发送。",
    ),
    "file_not_kept": _error(
        "{name} is not taken at this door: it takes rosters, not marks or teaching resources.",
        "本接口不接收 {name}：这里接收名册，不接收成绩与教学资源。",
        "Set file.{stem} to absent and leave the file out.",
        "请将 file.{stem} 设为 absent，并去掉该文件。",
    ),
    "declared_but_missing": _error(
        "The manifest says {found}, but {name} is not in the archive.",
        "清单写明 {found}，但压缩包中没有 {name}。",
        "Add the file, or set file.{stem} to absent.",
        "请添加该文件，或将 file.{stem} 设为 absent。",
    ),
    "sent_but_absent": _error(
        "{name} is in the archive, but the manifest does not announce it.",
        "压缩包含有 {name}，但清单未声明。",
        "Set file.{stem} to bulk or delta, or leave the file out.",
        "请将 file.{stem} 设为 bulk 或 delta，或去掉该文件。",
    ),
}

_FILE = {
    "not_utf8": _error(
        "The file is not UTF-8; it looks like {encoding}.",
        "文件不是 UTF-8 编码，疑似 {encoding}。",
        "Save it as UTF-8 (with or without BOM). It is not converted here: a wrong guess garbles names.",
        "请另存为 UTF-8（有无 BOM 均可）。系统不会自动转换，以免猜错编码损坏姓名。",
    ),
    "no_header": _error(
        "The file has no header row.",
        "文件没有表头。",
        "The first row names the columns: {columns}.",
        "第一行须写列名：{columns}。",
    ),
    "unknown_column": _error(
        "{name} is not a column of this file.",
        "本文件没有名为 {name} 的列。",
        "Nearest: {nearest}. Columns of your own are named metadata.….",
        "最接近的列名：{nearest}。自定义列请以 metadata. 开头。",
    ),
    "missing_column": _error(
        "The column {name} is missing.",
        "缺少列 {name}。",
        "The standard wants every column of the file in its header, also those without values.",
        "标准要求表头写全所有列，没有值的列也要保留。",
    ),
    "duplicate_column": _error(
        "The column {name} stands in the header twice.",
        "表头中列 {name} 出现两次。",
        "Keep one of them.",
        "请只保留一个。",
    ),
    "broken_quotes": _error(
        "The quotation marks do not close ({reason}).",
        "引号未正确闭合（{reason}）。",
        'A value with a comma, line break or quotation mark stands in "…", and a " inside is written "".',
        '含逗号、换行或引号的值须放在 "…" 中，内部的 " 写作 ""。',
    ),
}

_ROW = {
    "wrong_cell_count": _error(
        "The row has {found} cells, the header {wanted}.",
        "本行有 {found} 个单元格，表头有 {wanted} 个。",
        "Look for a comma without quotation marks around its value.",
        "请检查是否有未加引号的逗号。",
    ),
    "control_character": _error(
        "The row holds a control character.",
        "本行含有控制字符。",
        "Remove it; it cannot be kept or shown.",
        "请删除，控制字符无法保存或显示。",
    ),
    "required": _error(
        "{column} must not be empty.",
        "{column} 不能为空。",
        "Fill it in; the standard requires it.",
        "请填写，标准规定必填。",
    ),
    "bad_id": _error(
        "An id has 1 to 255 characters without spaces, commas, quotation marks or braces.",
        "标识为 1 至 255 个字符，不含空格、逗号、引号和花括号。",
        "Use the record's own id in your system.",
        "请使用贵系统中该记录自己的标识。",
    ),
    "citizen_number_as_id": _error(
        "A citizen number stands in {column}, where everybody who sees the roster would read it.",
        "{column} 中出现公民身份号码，会被所有能看到名册的人看到。",
        "Use an id of your own here, and give the number in userIds as {{citizen-number:…}}.",
        "此处请用自编标识，号码请写在 userIds 中：{{citizen-number:…}}。",
    ),
    "too_long": _error(
        "The value has {found} characters; {limit} are kept.",
        "值长 {found} 个字符，上限 {limit}。",
        "Shorten it.",
        "请缩短。",
    ),
    "bad_date": _error(
        "A date is written YYYY-MM-DD and must exist.",
        "日期须写作 YYYY-MM-DD，且真实存在。",
        "For example 2026-09-01.",
        "例如 2026-09-01。",
    ),
    "birth_date_in_future": _error(
        "The birth date lies in the future.",
        "出生日期在未来。",
        "Correct it.",
        "请更正。",
    ),
    "bad_datetime": _error(
        "A time is written as in 2026-09-01T08:00:00.000Z, with its zone.",
        "时间须写作 2026-09-01T08:00:00.000Z，并带时区。",
        "The standard wants UTC; other zones are taken when written out, as +08:00.",
        "标准要求 UTC；其他时区须写明，如 +08:00。",
    ),
    "modified_in_future": _error(
        "dateLastModified lies in the future; every later correction would count as stale.",
        "dateLastModified 在未来，之后的更正都会被视为过期。",
        "Check the clock of the exporting system.",
        "请检查导出系统的时钟。",
    ),
    "bad_boolean": _error(
        "{column} is true or false.",
        "{column} 只能是 true 或 false。",
        "Write true or false.",
        "请填写 true 或 false。",
    ),
    "unknown_word": _error(
        "{column} does not take this word.",
        "{column} 不接受该取值。",
        "Known: {words}.",
        "可用取值：{words}。",
    ),
    "bad_year": _error(
        "A school year is the four-digit year it ends in.",
        "学年须写四位数的结束年份。",
        "For 2026-2027 write 2027.",
        "例如 2026-2027 学年写 2027。",
    ),
    "bad_user_ids": _error(
        "userIds is written as {{type:identifier}}, several with commas between.",
        "userIds 须写作 {{类型:标识}}，多个之间用逗号分隔。",
        "For example {{citizen-number:110101…}}.",
        "例如 {{citizen-number:110101…}}。",
    ),
    "citizen_number_form": _error(
        "A citizen number has 17 digits and a digit or X.",
        "公民身份号码为 17 位数字加一位数字或 X。",
        "Compare it with the household register.",
        "请与户口簿核对。",
    ),
    "citizen_number_date": _error(
        "The birth date in the citizen number does not exist.",
        "公民身份号码中的出生日期不存在。",
        "Compare it with the household register.",
        "请与户口簿核对。",
    ),
    "citizen_number_checksum": _error(
        "The check digit of the citizen number is wrong.",
        "公民身份号码校验码错误。",
        "Most often two digits were swapped: compare it with the household register.",
        "常见原因是两位数字颠倒，请与户口簿核对。",
    ),
    "student_number_form": _error(
        "A student number (学籍号) is G and a citizen number, or J or L and 18 digits.",
        "学籍号为 G 加公民身份号码，或 J、L 加 18 位数字。",
        "Compare it with the national register; do not build it from another number.",
        "请与全国学籍系统核对，不要由其他号码推算。",
    ),
    "student_number_date": _error(
        "The birth date in the student number does not exist.",
        "学籍号中的出生日期不存在。",
        "Compare it with the national register.",
        "请与全国学籍系统核对。",
    ),
    "student_number_checksum": _error(
        "The citizen number inside the student number cannot be right.",
        "学籍号内的公民身份号码有误。",
        "Compare it with the national register.",
        "请与全国学籍系统核对。",
    ),
    "password_sent": _error(
        "A password stands in the file.",
        "文件中含有密码。",
        "Leave the column empty: passwords are not taken, and this one should be changed.",
        "请留空：系统不接收密码，且该密码应当更换。",
    ),
    "ends_before_it_begins": _error(
        "{column} lies before {other}.",
        "{column} 早于 {other}。",
        "Correct one of the two.",
        "请更正其中一个。",
    ),
}

_SET = {
    "duplicate_sourced_id": _error(
        "The same sourcedId stands in lines {lines}.",
        "相同的 sourcedId 出现在第 {lines} 行。",
        "One record has one row; which of them holds cannot be known here.",
        "一条记录只能有一行，系统无法判断以哪行为准。",
    ),
    "reference_to_nothing": _error(
        "{column} points to {target} {value}, which does not exist.",
        "{column} 指向的 {target} {value} 不存在。",
        "Send it in the same zip, or correct the reference.",
        "请在同一压缩包中发送该记录，或更正引用。",
    ),
    "reference_to_ended": _error(
        "{column} points to {target} {value}, which is to be deleted.",
        "{column} 指向的 {target} {value} 已标记删除。",
        "End this row too, or keep the other.",
        "请同时结束本行，或保留被引用的记录。",
    ),
    "reference_to_refused": _error(
        "{column} points to {target} {value}, whose own row was refused.",
        "{column} 指向的 {target} {value} 自身的行未被接收。",
        "Correct that row; this one follows.",
        "请先更正该行，本行随之可用。",
    ),
    "parent_cycle": _error(
        "The organisation is its own ancestor.",
        "该机构是自己的上级。",
        "Correct parentSourcedId.",
        "请更正 parentSourcedId。",
    ),
    "duplicate_person": _error(
        "The same person is also user {other}.",
        "同一人也是用户 {other}。",
        "A person has one user in a system; merge the two.",
        "一个人在系统中只能有一个用户，请合并。",
    ),
    "identity_conflict": _error(
        "The population register knows this user as somebody else ({reason}).",
        "人口登记中该用户对应另一人（{reason}）。",
        "Check the numbers; a sourcedId is never given to another person.",
        "请核对号码；sourcedId 不可转给他人使用。",
    ),
    "identity_invalid": _error(
        "The population register refuses this identifier ({reason}).",
        "人口登记不接受该标识（{reason}）。",
        "Compare it with the household register.",
        "请与户口簿核对。",
    ),
}

_WARNINGS = {
    "stale": _warning(
        "Older than what is kept; not applied.",
        "早于现有记录，未应用。",
        "Send the newer version if this one was meant.",
        "如确需更改，请发送更新的版本。",
    ),
    "enrolled_elsewhere": _warning(
        "The pupil has an open enrolment at another school; this one is provisional until that one ends.",
        "该生在另一学校有在读学籍；在其结束前，本次入学为临时。",
        "Start the transfer; attendance is not affected.",
        "请办理转学；不影响就读。",
    ),
}

RULES: Mapping[str, Rule] = {**_ARCHIVE, **_MANIFEST, **_FILE, **_ROW, **_SET, **_WARNINGS}
ARCHIVE_CODES = frozenset(_ARCHIVE)
STRUCTURE_CODES = frozenset({**_ARCHIVE, **_MANIFEST, **_FILE})
"""Faults of the push as a whole: no row can be set aside to heal them."""
