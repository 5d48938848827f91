"""The catalogue as DCAT-AP 3.0 in JSON-LD: the same rows as /exchange/datasets in another dress."""

from collections.abc import Sequence
from typing import Any

from services.exchange.shapes import Dataset

_EU = "http://publications.europa.eu/resource/authority"
_FREQUENCY = {
    "realtime": "CONT",
    "daily": "DAILY",
    "weekly": "WEEKLY",
    "monthly": "MONTHLY",
    "yearly": "ANNUAL",
}
# Sharing is among departments (共享属性); what is open to society (开放属性) would be PUBLIC.
_ACCESS = {"unconditional": "RESTRICTED", "conditional": "RESTRICTED", "none": "NON_PUBLIC"}
_XSD = {
    "date": "date",
    "datetime": "dateTime",
    "integer": "integer",
    "decimal": "decimal",
    "boolean": "boolean",
}

_TEXT = {"@container": "@language"}
CONTEXT: dict[str, Any] = {
    "dcat": "http://www.w3.org/ns/dcat#",
    "dct": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "csvw": "http://www.w3.org/ns/csvw#",
    "odrl": "http://www.w3.org/ns/odrl/2/",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "title": {"@id": "dct:title", **_TEXT},
    "description": {"@id": "dct:description", **_TEXT},
    "name": {"@id": "foaf:name", **_TEXT},
    "columnTitle": {"@id": "csvw:title", **_TEXT},
    "issued": {"@id": "dct:issued", "@type": "xsd:dateTime"},
    "modified": {"@id": "dct:modified", "@type": "xsd:dateTime"},
    "identifier": "dct:identifier",
    "publisher": {"@id": "dct:publisher", "@type": "@id"},
    "dataset": {"@id": "dcat:dataset", "@type": "@id"},
    "service": {"@id": "dcat:service", "@type": "@id"},
    "distribution": {"@id": "dcat:distribution", "@type": "@id"},
    "accessURL": {"@id": "dcat:accessURL", "@type": "@id"},
    "accessService": {"@id": "dcat:accessService", "@type": "@id"},
    "endpointURL": {"@id": "dcat:endpointURL", "@type": "@id"},
    "endpointDescription": {"@id": "dcat:endpointDescription", "@type": "@id"},
    "relation": {"@id": "dct:relation", "@type": "@id"},
    "mediaType": {"@id": "dcat:mediaType", "@type": "@id"},
    "permission": "odrl:permission",
    "prohibition": "odrl:prohibition",
    "duty": "odrl:duty",
    "target": {"@id": "odrl:target", "@type": "@id"},
    "action": {"@id": "odrl:action", "@type": "@id"},
    "consentingParty": {"@id": "odrl:consentingParty", "@type": "@id"},
    "servesDataset": {"@id": "dcat:servesDataset", "@type": "@id"},
    "accessRights": {"@id": "dct:accessRights", "@type": "@id"},
    "accrualPeriodicity": {"@id": "dct:accrualPeriodicity", "@type": "@id"},
    "conformsTo": {"@id": "dct:conformsTo", "@type": "@id"},
    "column": {"@id": "csvw:column", "@container": "@list"},
    "columnName": "csvw:name",
    "datatype": "csvw:datatype",
    "hasPolicy": {"@id": "odrl:hasPolicy", "@type": "@id"},
}


def catalogue(datasets: Sequence[Dataset], base: str) -> dict[str, Any]:
    """The catalogue as one JSON-LD document.

    Args:
        base: the suite's public origin; all names in the document are addresses under it.
    """
    return {
        "@context": CONTEXT,
        "@id": f"{base}/catalog.jsonld",
        "@type": "dcat:Catalog",
        "title": {"zh": "惠民政务信息资源目录", "en": "Huimin catalogue of shared public-service data"},
        "description": {
            "zh": "各部门提供共享的政务信息资源，及其共享方式与条件。",
            "en": "Datasets that departments share, on which terms, and how they are read.",
        },
        "publisher": {
            "@id": f"{base}/#publisher",
            "@type": "foaf:Agent",
            "name": {"zh": "惠民", "en": "Huimin"},
        },
        "dataset": [_dataset(found, base) for found in datasets],
        "service": [
            {
                "@id": f"{base}/exchange#reads",
                "@type": "dcat:DataService",
                "title": {"zh": "数据共享交换", "en": "Reads under an agreement"},
                "endpointURL": f"{base}/exchange/reads",
                "endpointDescription": f"{base}/exchange/openapi.json",
                "servesDataset": [_address(found, base) for found in datasets],
            }
        ],
    }


def _address(dataset: Dataset, base: str) -> str:
    return f"{base}/exchange/datasets/{dataset.id}"


def _dataset(dataset: Dataset, base: str) -> dict[str, Any]:
    address = _address(dataset, base)
    found: dict[str, Any] = {
        "@id": address,
        "@type": "dcat:Dataset",
        "identifier": [dataset.id, dataset.code],
        "title": {"zh": dataset.title_zh, "en": dataset.title_en},
        "description": {"zh": dataset.summary_zh, "en": dataset.summary_en},
        "publisher": _publisher(dataset, base),
        "issued": dataset.first_seen.isoformat(),
        "modified": (dataset.fresh_at or dataset.changed_at).isoformat(),
        "accessRights": {
            "@id": f"{_EU}/access-right/{_ACCESS[dataset.sharing]}",
            "@type": "dct:RightsStatement",
        },
        "accrualPeriodicity": {
            "@id": f"{_EU}/frequency/{_FREQUENCY[dataset.update_cycle]}",
            "@type": "dct:Frequency",
        },
        "conformsTo": _items(dataset, address),
        "hasPolicy": _policy(dataset, address, base),
    }
    if dataset.related:
        found["relation"] = [f"{base}/exchange/datasets/{id}" for id in dataset.related]
    if dataset.sharing != "none":
        found["distribution"] = [_distribution(dataset, address, base)]
    return found


def _publisher(dataset: Dataset, base: str) -> dict[str, Any]:
    department = dataset.department
    found = {
        "@id": _department(dataset, base),
        "@type": "foaf:Agent",
        "name": {"zh": department.name_zh, "en": department.name_en},
    }
    return found | ({"identifier": department.organisation} if department.organisation else {})


def _department(dataset: Dataset, base: str) -> str:
    return f"{base}/exchange/departments#{dataset.provider}"


def _items(dataset: Dataset, address: str) -> dict[str, Any]:
    return {
        "@id": f"{address}#items",
        "@type": ["dct:Standard", "csvw:Schema"],
        "column": [
            {
                "@type": "csvw:Column",
                "columnName": item.name,
                "columnTitle": {"zh": item.title_zh, "en": item.title_en},
                "datatype": _XSD.get(item.type, "string"),
            }
            for item in dataset.items
        ],
    }


def _distribution(dataset: Dataset, address: str, base: str) -> dict[str, Any]:
    return {
        "@id": f"{address}#read",
        "@type": "dcat:Distribution",
        "accessURL": f"{base}/exchange/reads/{dataset.id}",
        "accessService": f"{base}/exchange#reads",
        "mediaType": {
            "@id": "https://www.iana.org/assignments/media-types/application/json",
            "@type": "dct:MediaType",
        },
    }


def _policy(dataset: Dataset, address: str, base: str) -> dict[str, Any]:
    """共享属性 as an ODRL offer: free to departments, with the provider's agreement, or not at all."""
    use: dict[str, Any] = {"target": address, "action": "odrl:use"}
    found = {"@id": f"{address}#sharing", "@type": "odrl:Offer"}
    if dataset.sharing == "none":
        words = {"zh": f"不予共享：{dataset.legal_basis}", "en": f"Not shared: {dataset.legal_basis}"}
        return found | {"prohibition": use, "description": words}
    if dataset.sharing == "conditional" or dataset.personal:
        use["duty"] = {"action": "odrl:obtainConsent", "consentingParty": _department(dataset, base)}
    condition = {"zh": dataset.sharing_condition_zh, "en": dataset.sharing_condition_en}
    return found | {"permission": use} | ({"description": condition} if condition["zh"] else {})
