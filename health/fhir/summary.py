"""The International Patient Summary: a document of what whoever treats a stranger needs to know first.

HL7 IPS 2.0 (http://hl7.org/fhir/uv/ips): a Composition with its sections, and what they show.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from health.fhir import text

Body = dict[str, Any]
TYPES = (
    "AllergyIntolerance", "CarePlan", "Condition", "Device", "DeviceUseStatement", "DiagnosticReport", "Flag",
    "Immunization", "MedicationRequest", "MedicationStatement", "Observation", "Procedure",
)  # fmt: skip
REPEATING = ("DiagnosticReport", "Observation", "Procedure")
SAYS_NOTHING = ("cancelled", "draft", "entered-in-error", "not-done", "not-taken", "preparation", "stopped")
BESIDE = frozenset(
    {
        "Device", "Location", "Medication", "Observation", "Organization", "Practitioner", "PractitionerRole",
        "Specimen",
    }
)  # fmt: skip
"""Types that come along where what is shown refers to them."""
DIGITS_MAX = 8
_PROFILE = "http://hl7.org/fhir/uv/ips/StructureDefinition/{}-uv-ips"
_LOINC = "http://loinc.org"
_XHTML = "http://www.w3.org/1999/xhtml"
_NOT_SO = frozenset({"entered-in-error", "refuted"})
_OVER = frozenset({"inactive", "remission", "resolved"})
_RUNNING = frozenset({"", "active", "intended", "on-hold", "unknown"})
_PREGNANCY = frozenset(
    {"82810-3", "11778-8", "11779-6", "11780-4", "11636-8", "11637-6", "11638-4", "11639-2", "11640-0",
     "11612-9", "11613-7", "11614-5", "33065-4"}
)  # fmt: skip
"""LOINC: state of pregnancy, expected date of delivery, outcomes of earlier ones (IPS, pregnancy)."""
_HABITS = frozenset({"72166-2", "74013-4", "11367-0", "11331-6"})
"""LOINC: tobacco and alcohol use (IPS, social history)."""
_SEVERAL = frozenset({"social-history", "sdoh"})
_WHEN = (
    "onsetDateTime", "onsetPeriod", "effectiveDateTime", "effectivePeriod", "effectiveInstant",
    "occurrenceDateTime", "performedDateTime", "performedPeriod", "timingDateTime", "timingPeriod",
    "authoredOn", "period", "recordedDate", "recordedOn", "issued", "dateAsserted", "manufactureDate",
)  # fmt: skip
_WHAT = ("code", "vaccineCode", "medicationCodeableConcept", "type")
_STATES = {
    "active": "进行中", "recurrence": "复发", "relapse": "复发", "inactive": "非活动", "remission": "缓解",
    "resolved": "已愈", "completed": "已完成", "on-hold": "暂停", "final": "最终", "high": "高", "low": "低",
    "unable-to-assess": "无法评估",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the summary: its LOINC code, its title, what belongs into it."""

    code: str
    zh: str
    en: str
    takes: Callable[[Body], bool]
    always: bool = False

    @property
    def title(self) -> str:
        return f"{self.zh} {self.en}"


def document(
    patient: Body, records: Sequence[Body], beside: Sequence[Body], *, base: str, as_of: str, special: bool
) -> bytes:
    """The Bundle. The same records give the same one.

    Args:
        patient: whose summary it is.
        records: the latest first; what belongs to no section is left out.
        beside: what the records refer to.
        base: the server's base URL with a slash at its end.
        as_of: when the latest of them was last changed, as an instant.
        special: something of it is specially protected.
    """
    placed = {section: [one for one in records if _section(one) is section] for section in SECTIONS}
    shown = [patient, *(one for section in SECTIONS for one in placed[section])]
    known = {_local(one) for one in shown}
    shown += [one for one in beside if _local(one) not in known]
    written = [text.written(one) for one in shown]
    key = sha256("\n".join((base, as_of, *written)).encode()).hexdigest()
    author = _author(key)
    composition = {
        "resourceType": "Composition",
        "meta": {"profile": [_PROFILE.format("Composition")]},
        "language": "zh-CN",
        "status": "final",
        "type": {"coding": [_loinc("60591-5", "Patient summary Document")]},
        "subject": {"reference": base + _local(patient)},
        "date": as_of,
        "author": [{"reference": _urn(key, "author")}],
        "title": "国际患者摘要 International Patient Summary",
        "confidentiality": "R" if special else "N",
        "section": [
            _written(section, placed[section], base)
            for section in SECTIONS
            if placed[section] or section.always
        ],
    }
    bundle = {
        "resourceType": "Bundle",
        "meta": {"profile": [_PROFILE.format("Bundle")]},
        "identifier": {"system": "urn:ietf:rfc:3986", "value": _urn(key, "bundle")},
        "type": "document",
        "timestamp": as_of,
        "entry": [
            {"fullUrl": _urn(key, "composition"), "resource": composition},
            {"fullUrl": _urn(key, "author"), "resource": author},
            *({"fullUrl": base + _local(one), "resource": one} for one in shown),
        ],
    }
    return text.written(bundle).encode()


def belongs(record: Body) -> bool:
    """Whether a record is shown in some section."""
    return _section(record) is not None


def referred_to(bodies: Iterable[Body]) -> set[str]:
    """`Type/id` of what these refer to and comes along with them."""
    found = {local for body in bodies for holder in _references(body) if (local := _target(holder))}
    return {local for local in found if local.partition("/")[0] in BESIDE}


def settle(
    bodies: Sequence[Body], patient: Body, patients: Iterable[str], names: Mapping[str, str], base: str
) -> None:
    """Lets every reference lead to what is in the document, or to nothing; in place.

    Args:
        patients: ids of all Patients of the person, of whom one is shown.
        names: what is called how, by `Type/id`, where the reference itself does not say it.
    """
    inside = {_local(body) for body in bodies}
    others = {f"Patient/{id}" for id in patients}
    for body in bodies:
        for holder in _references(body):
            local = _target(holder, base)
            if local is not None and local in names:
                holder.setdefault("display", names[local])
            if local in others:
                holder["reference"] = _local(patient)
            elif local in inside:
                holder["reference"] = local
            else:
                said = holder.pop("reference")
                kind = local.partition("/")[0] if local else said
                holder.setdefault("display", f"{kind} 未列入本摘要 not in this summary")


def _references(node: Any) -> Iterator[dict[str, Any]]:
    """References of a resource that lead out of it."""
    if isinstance(node, list):
        for one in node:
            yield from _references(one)
    elif isinstance(node, dict):
        if isinstance(said := node.get("reference"), str) and not said.startswith("#"):
            yield node
        for one in node.values():
            yield from _references(one)


def _target(reference: Mapping[str, Any], base: str = "") -> str | None:
    steps = reference["reference"].removeprefix(base).partition("/_history/")[0].split("/")
    return "/".join(steps) if len(steps) == 2 and ":" not in steps[0] else None


def _local(body: Body) -> str:
    return f"{body['resourceType']}/{body['id']}"


def _urn(key: str, part: str) -> str:
    return f"urn:uuid:{uuid5(NAMESPACE_URL, f'{key}/{part}')}"


def _loinc(code: str, display: str) -> dict[str, str]:
    return {"system": _LOINC, "code": code, "display": display}


def _author(key: str) -> Body:
    return {
        "resourceType": "Device",
        "id": _urn(key, "author").removeprefix("urn:uuid:"),
        "deviceName": [{"name": "惠民健康档案 Huimin health records", "type": "user-friendly-name"}],
    }


# Where a record belongs


def _section(record: Body) -> Section | None:
    return next((section for section in SECTIONS if section.takes(record)), None)


def _is(*kinds: str) -> Callable[[Body], bool]:
    return lambda record: record["resourceType"] in kinds


def _current(record: Body) -> bool:
    """A problem or an allergy that is neither over nor withdrawn."""
    return _codes(record, "clinicalStatus").isdisjoint(_OVER)


def _so(record: Body) -> bool:
    return _codes(record, "verificationStatus").isdisjoint(_NOT_SO)


def _problem(record: Body) -> bool:
    return record["resourceType"] == "Condition" and _so(record) and _current(record)


def _past(record: Body) -> bool:
    return record["resourceType"] == "Condition" and _so(record)


def _allergy(record: Body) -> bool:
    return record["resourceType"] == "AllergyIntolerance" and _so(record) and _current(record)


def _runs(record: Body) -> bool:
    return record.get("status", "") in _RUNNING


def _observed(*categories: str, codes: frozenset[str] = frozenset()) -> Callable[[Body], bool]:
    def takes(record: Body) -> bool:
        if record["resourceType"] != "Observation":
            return False
        return not _codes(record, "category").isdisjoint(categories) or not _codes(record, "code").isdisjoint(
            codes
        )

    return takes


def _medication(record: Body) -> bool:
    return record["resourceType"] in ("MedicationRequest", "MedicationStatement") and _runs(record)


SECTIONS = (
    Section("11450-4", "健康问题", "Problem list", _problem, always=True),
    Section("48765-2", "过敏与不良反应", "Allergies and intolerances", _allergy, always=True),
    Section("10160-0", "用药", "Medication summary", _medication, always=True),
    Section("104605-1", "警示", "Alerts", lambda one: _is("Flag")(one) and _runs(one)),
    Section("11369-6", "预防接种", "Immunizations", _is("Immunization")),
    Section("10162-6", "孕产史", "Pregnancy", _observed(codes=_PREGNANCY)),
    Section("29762-2", "社会史", "Social history", _observed(*_SEVERAL, codes=_HABITS)),
    Section("8716-3", "生命体征", "Vital signs", _observed("vital-signs")),
    Section(
        "30954-2",
        "检验检查结果",
        "Results",
        lambda one: (
            _is("DiagnosticReport")(one) or _observed("laboratory", "imaging", "exam", "procedure")(one)
        ),
    ),
    Section("47519-4", "手术与操作", "Procedures", _is("Procedure")),
    Section(
        "46264-8",
        "医疗器械",
        "Medical devices",
        lambda one: _is("Device", "DeviceUseStatement")(one) and _runs(one),
    ),
    Section("18776-5", "诊疗计划", "Plan of care", lambda one: _is("CarePlan")(one) and _runs(one)),
    Section("11348-0", "既往史", "History of past problems", _past),
)


# How it is written


def _written(section: Section, records: Sequence[Body], base: str) -> Body:
    found: Body = {
        "title": section.title,
        "code": {"coding": [_loinc(section.code, section.en)]},
        "text": {"status": "generated", "div": _narrative(section, records)},
    }
    if records:
        found["entry"] = [{"reference": base + _local(one)} for one in records]
    else:
        found["emptyReason"] = {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/list-empty-reason",
                    "code": "unavailable",
                    "display": "Unavailable",
                }
            ],
            "text": "此处无可用信息 nothing is available here",
        }
    return found


def _narrative(section: Section, records: Sequence[Body]) -> str:
    heading = f'<h3>{section.zh} <span lang="en">{section.en}</span></h3>'
    if records:
        head = "".join(f"<th>{word}</th>" for word in ("内容 Item", "说明 Detail", "日期 Date"))
        rows = "".join(f"<tr>{_cells(one)}</tr>" for one in records)
        shown = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    else:
        shown = '<p>此处无可用信息 <span lang="en">Nothing is available here.</span></p>'
    return f'<div xmlns="{_XHTML}" lang="zh-CN" xml:lang="zh-CN">{heading}{shown}</div>'


def _cells(record: Body) -> str:
    said = [_what(record), _detail(record), _when(record)]
    if "REDACTED" in {label.get("code") for label in record.get("meta", {}).get("security", ())}:
        said[1] += "（部分内容受保护 partly withheld）"
    return "".join(f"<td>{escape(one)}</td>" for one in said)


def _what(record: Body) -> str:
    for name in _WHAT:
        if words := _words(record.get(name)):
            return words
    for name in ("medicationReference", "device"):
        if words := record.get(name, {}).get("display"):
            return str(words)
    named = record.get("title") or next((one.get("name") for one in record.get("deviceName", ())), None)
    categories = "; ".join(filter(None, map(_words, record.get("category", ()))))
    return named or categories or record["resourceType"]


def _detail(record: Body) -> str:
    parts = [_value(record), *(f"{_words(c.get('code'))} {_value(c)}" for c in record.get("component", ()))]
    parts += [_words(one) for one in record.get("interpretation", ())]
    dosages = (*record.get("dosageInstruction", ()), *record.get("dosage", ()))
    parts += [f"剂量 dose {words}" for one in dosages if (words := _dose(one))]
    parts += [
        f"反应 reaction {_words(m)}" for r in record.get("reaction", ()) for m in r.get("manifestation", ())
    ]
    parts += [f"危险度 criticality {_state(record['criticality'])}"] if "criticality" in record else []
    parts += [str(record["conclusion"])] if "conclusion" in record else []
    if not any(parts):
        status = record.get("status") or next(iter(_codes(record, "clinicalStatus")), "")
        parts = [_state(status)]
    return "; ".join(part for part in parts if part)


def _dose(dosage: Body) -> str:
    """How much and how often, in the words it came with or put together."""
    if "text" in dosage:
        return str(dosage["text"])
    rates = dosage.get("doseAndRate", ())
    amounts = [_quantity(one["doseQuantity"]) for one in rates if "doseQuantity" in one]
    timing = dosage.get("timing", {})
    repeat = timing.get("repeat", {})
    if {"frequency", "period", "periodUnit"} <= repeat.keys():
        often = f"{_digits(repeat['frequency'])} × / {_digits(repeat['period'])} {repeat['periodUnit']}"
    else:
        often = _words(timing.get("code"))
    return ", ".join(filter(None, [*amounts, often]))


def _quantity(quantity: Body) -> str:
    number = _digits(quantity["value"]) if "value" in quantity else ""
    return (
        f"{quantity.get('comparator', '')}{number} {quantity.get('unit') or quantity.get('code', '')}".strip()
    )


def _digits(number: Any) -> str:
    """A number as it was written, or, where that is longer than anybody measures, its first digits."""
    written = str(getattr(number, "literal", number))
    return written if len(written) <= DIGITS_MAX else f"{float(number):.5g}"


def _state(code: str) -> str:
    return f"{_STATES[code]} {code}" if code in _STATES else code


def _value(holder: Body) -> str:
    match next(((name, value) for name, value in holder.items() if name.startswith("value")), None):
        case ("valueQuantity", dict() as quantity):
            return _quantity(quantity)
        case (_, dict() as concept):
            return _words(concept)
        case (_, bool() as value):
            return "是 yes" if value else "否 no"
        case (_, value):
            return _digits(value) if isinstance(value, int | float) else str(value)
    return ""


def _when(record: Body) -> str:
    for name in _WHEN:
        match record.get(name):
            case {"start": str() as start}:
                return start[:10]
            case str() as moment:
                return moment[:10]
    return ""


def _words(concept: Any) -> str:
    if isinstance(concept, list):
        concept = next(iter(concept), None)
    if not isinstance(concept, dict):
        return ""
    codings = concept.get("coding", ())
    displays = [one["display"] for one in codings if one.get("display")]
    return concept.get("text") or next(iter([*displays, *(one.get("code", "") for one in codings)]), "")


def _codes(record: Body, name: str) -> set[str]:
    """The codes of a CodeableConcept, or of several."""
    held = record.get(name, ())
    concepts = held if isinstance(held, list) else [held] if held else []
    return {one.get("code", "") for concept in concepts for one in concept.get("coding", ())}
