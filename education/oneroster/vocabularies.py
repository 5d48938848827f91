"""The words OneRoster 1.2 allows (CSV binding, section 4.13 onward; the REST binding's schemas agree).

A vocabulary that is `extensible` also takes the sender's own words as `ext:…`.
"""

import re
from dataclasses import dataclass

EXTENSION = re.compile(r"ext:[a-zA-Z0-9.\-_]+")


@dataclass(frozen=True)
class Vocabulary:
    words: frozenset[str]
    extensible: bool = True

    def accepts(self, word: str) -> bool:
        return word in self.words or (self.extensible and EXTENSION.fullmatch(word) is not None)

    @property
    def listed(self) -> str:
        return ", ".join(sorted(self.words)) + (", ext:…" if self.extensible else "")


def _words(text: str, *, extensible: bool = True) -> Vocabulary:
    return Vocabulary(frozenset(text.split()), extensible)


# `inactive` was a status until 1.1 and reads as `tobedeleted` in 1.2.
STATUS = {"active": "active", "tobedeleted": "tobedeleted", "inactive": "tobedeleted"}
ORG_TYPE = _words("department school district local state national")
SESSION_TYPE = _words("gradingPeriod semester schoolYear term")
CLASS_TYPE = _words("homeroom scheduled")
ROLE_TYPE = _words("primary secondary", extensible=False)
ROLE = _words(
    "aide counselor districtAdministrator guardian parent principal proctor relative siteAdministrator "
    "student systemAdministrator teacher"
)
ENROLLMENT_ROLE = _words("administrator proctor student teacher")
SEX = _words("male female unspecified other")
BOOLEAN = frozenset({"true", "false"})

# Common Education Data Standards, "Entry Grade Level", the vocabulary OneRoster recommends for `grades`.
GRADE = _words(
    "IT PR PK TK KG 01 02 03 04 05 06 07 08 09 10 11 12 13 AS BA PB MD PM DO PD AE PT Other UG PS OTHER"
)
