"""What personal data may be used for: a closed list, so that a purpose can be compared and explained.

The codes stand in tokens, agreements, consents, access policies and leaves; people see the words.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    zh: str
    en: str


TREATMENT = "treatment"
EMERGENCY = "emergency"
PUBLIC_HEALTH = "public_health"
BENEFIT_ADMINISTRATION = "benefit_administration"
BENEFIT_AUDIT = "benefit_audit"
EDUCATION = "education"
STATISTICS = "statistics"
RESEARCH = "research"
OPERATIONS = "operations"
OWN_RECORDS = "own_records"
REGISTRATION = "registration"

PURPOSES: Mapping[str, Words] = {
    TREATMENT: Words("诊疗", "treatment"),
    EMERGENCY: Words("急救", "emergency care"),
    PUBLIC_HEALTH: Words("公共卫生", "public health"),
    BENEFIT_ADMINISTRATION: Words("社会保险经办", "administration of benefits"),
    BENEFIT_AUDIT: Words("社会保险稽核", "benefit audit"),
    EDUCATION: Words("教育教学", "education"),
    STATISTICS: Words("统计", "statistics"),
    RESEARCH: Words("科学研究", "research"),
    OPERATIONS: Words("业务运行", "operation of a public service"),
    OWN_RECORDS: Words("本人查阅", "one's own records"),
    REGISTRATION: Words("登记", "registration"),
}
"""Every purpose with its words in Chinese and English, in the order they are listed to people."""


def is_purpose(code: str) -> bool:
    return code in PURPOSES


def words_of(code: str) -> Words:
    """The words of a purpose; of one that is not in the list, its own code."""
    return PURPOSES.get(code, Words(code, code))
