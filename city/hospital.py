"""A hospital alliance: writes each patient's years as one FHIR R4 transaction bundle, and sends it."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from city import medicine
from city.areas import address
from city.dice import digest
from city.illness import History, Shot, Visit
from city.institutions import Alliance, Doctor, Organisation
from city.numbers import CITIZEN_NUMBER, ORGANISATION_CODE, PRACTITIONER_NUMBER
from city.people import Person

Json = dict[str, Any]
BEIJING = timezone(timedelta(hours=8))
RECORD_NUMBER = "urn:huimin:city:medical-record-number"
VISIT_NUMBER = "urn:huimin:city:visit-number"
_HL7 = "http://terminology.hl7.org/CodeSystem"
_CLASSES = {"AMB": "ambulatory", "EMER": "emergency", "IMP": "inpatient encounter"}


def visit_number(person: Person, visit: Visit) -> str:
    """The hospital's own number of the visit; the claim for it carries the same one."""
    return f"{person.code}-{visit.order:03d}"


def _moment(day: date, minute: int) -> str:
    return datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=BEIJING).isoformat()


def _coded(system: str, code: str, text: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": text}], "text": text}


def _from(table: str, code: str) -> Json:
    return {"coding": [{"system": f"{_HL7}/{table}", "code": code}]}


def _quantity(value: float, unit: str, ucum: str) -> Json:
    number = int(value) if value == int(value) else value
    return {"value": number, "unit": unit, "system": medicine.UCUM, "code": ucum}


class Bundle:
    """A transaction being written: entries refer to one another by urn:uuid."""

    def __init__(self, *labels: object) -> None:
        self._labels = labels
        self._known: dict[str, str] = {}
        self.entries: list[Json] = []

    def add(self, resource: Json, *, key: str | None = None, unless: str | None = None) -> Json:
        """Adds an entry and gives a reference to it. `unless` is its If-None-Exist query."""
        if key is not None and key in self._known:
            return {"reference": self._known[key]}
        name = digest(*self._labels, resource["resourceType"], len(self.entries))
        url = f"urn:uuid:{UUID(bytes=name, version=4)}"
        request = {"method": "POST", "url": resource["resourceType"]}
        if unless is not None:
            request["ifNoneExist"] = unless
        self.entries.append({"fullUrl": url, "resource": resource, "request": request})
        if key is not None:
            self._known[key] = url
        return {"reference": url}

    def whole(self) -> Json:
        return {"resourceType": "Bundle", "type": "transaction", "entry": self.entries}


class Chart:
    """One patient's bundle: patient, guardians and cover, then what the history tells, in order of days."""

    def __init__(
        self, person: Person, history: History, alliance: Alliance, payor: Organisation, seed: int
    ) -> None:
        self.person, self.history, self.alliance, self.payor = person, history, alliance, payor
        self.bundle = Bundle(seed, "bundle", person.index)
        self.organisations = {provider.code: provider for provider in alliance.providers()}

    def write(self, guardians: list[Person]) -> Json:
        self.patient = self.bundle.add(self._patient())
        for guardian in guardians:
            self.bundle.add(self._guardian(guardian))
        self.bundle.add(self._coverage())
        self._standing()
        for visit in self.history.visits:
            self._visit(visit)
        for shot in self.history.shots:
            self.bundle.add(self._shot(shot))
        return self.bundle.whole()

    def _organisation(self, code: str) -> Json:
        """Repeats in every bundle, as senders do; If-None-Exist keeps it single."""
        organisation = self.organisations[code]
        identifier = {"system": ORGANISATION_CODE, "value": code}
        resource: Json = {
            "resourceType": "Organization",
            "identifier": [identifier],
            "active": True,
            "type": [_from("organization-type", "prov")],
            "name": organisation.name,
            "alias": [organisation.name_en],
            "address": [{"text": address(organisation.area), "city": "杭州市", "country": "CN"}],
        }
        return self.bundle.add(
            resource, key=f"organisation {code}", unless=f"identifier={ORGANISATION_CODE}|{code}"
        )

    def _practitioner(self, doctor: Doctor) -> Json:
        """Repeats as well, without any condition: the receiver matches it by its identifier."""
        resource: Json = {
            "resourceType": "Practitioner",
            "identifier": [{"system": PRACTITIONER_NUMBER, "value": doctor.number}],
            "active": True,
            "name": [{"use": "official", "text": doctor.name}],
        }
        return self.bundle.add(resource, key=f"doctor {doctor.number}")

    def _patient(self) -> Json:
        person = self.person
        name: Json = {"use": "official", "text": person.name.text, "given": [person.name.given]}
        if person.name.family != person.name.given:
            name["family"] = person.name.family
        patient: Json = {
            "resourceType": "Patient",
            "identifier": [
                {"use": "official", "system": CITIZEN_NUMBER, "value": person.number},
                {"use": "usual", "system": RECORD_NUMBER, "value": f"MR{person.code}"},
            ],
            "active": True,
            "name": [name],
            "gender": person.sex,
            "birthDate": person.birth.isoformat(),
            "address": [
                {"use": "home", "text": address(person.area), "state": "浙江省", "city": "杭州市",
                 "district": address(person.area)[6:], "country": "CN"}
            ],
            "managingOrganization": self._organisation(self.alliance.hospital.code),
        }  # fmt: skip
        if person.death is not None:
            patient["deceasedDateTime"] = person.death.isoformat()
        return patient

    def _guardian(self, guardian: Person) -> Json:
        parent = guardian.index in (self.person.father, self.person.mother)
        relation = ("FTH" if guardian.sex == "male" else "MTH") if parent else "GRPRN"
        return {
            "resourceType": "RelatedPerson",
            "identifier": [{"system": CITIZEN_NUMBER, "value": guardian.number}],
            "active": True,
            "patient": self.patient,
            "relationship": [_from("v3-RoleCode", relation), _from("v3-RoleCode", "GUARD")],
            "name": [{"use": "official", "text": guardian.name.text}],
            "gender": guardian.sex,
        }

    def _coverage(self) -> Json:
        employee = self.person.medical == "employee_medical"
        coverage = {
            "resourceType": "Coverage",
            "status": "active",
            "type": {
                **_from("v3-ActCode", "EHCPOL" if employee else "PUBLICPOL"),
                "text": "城镇职工基本医疗保险" if employee else "城乡居民基本医疗保险",
            },
            "beneficiary": self.patient,
            "payor": [
                {
                    "identifier": {"system": ORGANISATION_CODE, "value": self.payor.code},
                    "display": self.payor.name,
                }
            ],
        }
        return coverage if self.person.death is None else {**coverage, "status": "cancelled"}

    def _standing(self) -> None:
        """What holds whatever the day: long illnesses, allergy, height and weight."""
        history = self.history
        for illness, since in history.chronic:
            self.bundle.add(self._condition(illness, since, None), key=f"condition {illness.code}")
        if history.allergy:
            self.bundle.add(
                {
                    "resourceType": "AllergyIntolerance",
                    "clinicalStatus": _from("allergyintolerance-clinical", "active"),
                    "verificationStatus": _from("allergyintolerance-verification", "confirmed"),
                    "category": ["medication"],
                    "code": _coded(medicine.ATC, "J01CE01", "青霉素"),
                    "patient": self.patient,
                }
            )
        if history.height is not None and history.weight is not None and history.visits:
            day = _moment(history.visits[0].first, history.visits[0].minute)
            self.bundle.add(
                self._observation("8302-2", "身高", day, history.height, "cm", "cm", "vital-signs")
            )
            self.bundle.add(
                self._observation("29463-7", "体重", day, history.weight, "kg", "kg", "vital-signs")
            )

    def _condition(self, illness: medicine.Illness, since: date, encounter: Json | None) -> Json:
        resource: Json = {
            "resourceType": "Condition",
            "clinicalStatus": _from("condition-clinical", "active" if illness.chronic else "resolved"),
            "verificationStatus": _from("condition-ver-status", "confirmed"),
            "category": [
                _from("condition-category", "problem-list-item" if illness.chronic else "encounter-diagnosis")
            ],
            "code": _coded(medicine.ICD10, illness.code, illness.text),
            "subject": self.patient,
            "onsetDateTime": since.isoformat(),
            "recordedDate": since.isoformat(),
        }
        if encounter is not None:
            resource["encounter"] = encounter
        return resource

    def _observation(
        self, code: str, text: str, when: str, value: float, unit: str, ucum: str, category: str
    ) -> Json:
        return {
            "resourceType": "Observation",
            "status": "final",
            "category": [_from("observation-category", category)],
            "code": _coded(medicine.LOINC, code, text),
            "subject": self.patient,
            "effectiveDateTime": when,
            "valueQuantity": _quantity(value, unit, ucum),
        }

    def _visit(self, visit: Visit) -> None:
        person, illness = self.person, visit.illness
        organisation = self._organisation(visit.doctor.provider)
        doctor = self._practitioner(visit.doctor)
        start = _moment(visit.first, visit.minute)
        end = (
            _moment(visit.last, 9 * 60 + 30)
            if visit.last > visit.first
            else _moment(visit.first, visit.minute + 40)
        )
        encounter = self.bundle.add(
            {
                "resourceType": "Encounter",
                "identifier": [{"system": VISIT_NUMBER, "value": visit_number(person, visit)}],
                "status": "finished",
                "class": {
                    "system": f"{_HL7}/v3-ActCode",
                    "code": visit.kind,
                    "display": _CLASSES[visit.kind],
                },
                "type": [{"text": illness.department}],
                "subject": self.patient,
                "participant": [{"individual": doctor}],
                "period": {"start": start, "end": end},
                "reasonCode": [_coded(medicine.ICD10, illness.code, illness.text)],
                "serviceProvider": organisation,
            }
        )
        if not illness.code.startswith("Z"):
            again = f"condition {illness.code}" if illness.chronic else None
            self.bundle.add(self._condition(illness, visit.first, encounter), key=again)
        results = [self._with(encounter, self._pressure(visit, start))]
        results += [
            self._with(
                encounter,
                self._observation(code, measure.text, start, value, measure.unit, measure.ucum, "laboratory"),
            )
            for code, value, measure in ((lab.code, lab.value, medicine.LABS[lab.code]) for lab in visit.labs)
        ]
        if len(results) > 2:
            self.bundle.add(self._report(encounter, doctor, start, results[1:]))
        for drug in illness.drugs:
            self.bundle.add(self._prescription(encounter, doctor, drug, start))
        if illness.procedure is not None and visit.kind == "IMP":
            self.bundle.add(
                {
                    "resourceType": "Procedure",
                    "status": "completed",
                    "code": _coded(medicine.ICD9, illness.procedure, medicine.PROCEDURES[illness.procedure]),
                    "subject": self.patient,
                    "encounter": encounter,
                    "performedDateTime": start,
                    "performer": [{"actor": doctor}],
                }
            )

    def _with(self, encounter: Json, resource: Json) -> Json:
        resource["encounter"] = encounter
        return self.bundle.add(resource)

    def _pressure(self, visit: Visit, when: str) -> Json:
        """The panel as HL7's vital signs profile has it: no value of its own, two components."""

        def part(code: str, text: str, value: int) -> Json:
            return {
                "code": _coded(medicine.LOINC, code, text),
                "valueQuantity": _quantity(value, "mmHg", "mm[Hg]"),
            }

        return {
            "resourceType": "Observation",
            "status": "final",
            "category": [_from("observation-category", "vital-signs")],
            "code": _coded(medicine.LOINC, "85354-9", "血压"),
            "subject": self.patient,
            "effectiveDateTime": when,
            "component": [
                part("8480-6", "收缩压", visit.systolic),
                part("8462-4", "舒张压", visit.diastolic),
            ],
        }

    def _report(self, encounter: Json, doctor: Json, when: str, results: list[Json]) -> Json:
        return {
            "resourceType": "DiagnosticReport",
            "status": "final",
            "category": [_from("v2-0074", "LAB")],
            "code": _coded(medicine.LOINC, "11502-2", "检验报告"),
            "subject": self.patient,
            "encounter": encounter,
            "effectiveDateTime": when,
            "issued": when,
            "performer": [doctor],
            "result": results,
        }

    def _prescription(self, encounter: Json, doctor: Json, drug: str, when: str) -> Json:
        name, dose = medicine.DRUGS[drug]
        return {
            "resourceType": "MedicationRequest",
            "status": "completed",
            "intent": "order",
            "medicationCodeableConcept": _coded(medicine.ATC, drug, name),
            "subject": self.patient,
            "encounter": encounter,
            "authoredOn": when,
            "requester": doctor,
            "dosageInstruction": [{"text": dose}],
        }

    def _shot(self, shot: Shot) -> Json:
        return {
            "resourceType": "Immunization",
            "status": "completed",
            "vaccineCode": _coded(medicine.CVX, shot.code, shot.text),
            "patient": self.patient,
            "occurrenceDateTime": shot.day.isoformat(),
            "primarySource": True,
            "performer": [{"actor": self._practitioner(shot.doctor)}],
        }


def count_types(bundle: Json) -> Iterator[str]:
    for entry in bundle["entry"]:
        yield str(entry["resource"]["resourceType"])
