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
_ACCESS = {"unconditional": "PUBLIC", "conditional": "RESTRICTED", "none": "NON_PUBLIC"}
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
    "servesDataset": {"@id": "dcat:servesDataset", "@type": "@id"},
    "accessRights": {"@id": "dct:accessRights", "@type": "@id"},
    "accrualPeriodicity": {"@id": "dct:accrualPeriodicity", "@type": "@id"},
    "conformsTo": {"@id": "dct:conformsTo", "@type": "@id"},
    "column": {"@id": "csvw:column", "@container": "@list"},
    "columnName": "csvw:name",
    "datatype": "csvw:datatype",
    "hasPolicy": {"@id": "odrl:hasPolicy", "@type": "@id"},
}

_PROVIDERS = {
    "health": ("卫生健康", "Health"),
    "social_security": ("人力资源和社会保障", "Social security"),
    "education": ("教育", "Education"),
    "transport": ("交通与文化旅游", "Transport and tourism"),
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
    zh, en = _PROVIDERS.get(dataset.provider, (dataset.provider, dataset.provider))
    found: dict[str, Any] = {
        "@id": address,
        "@type": "dcat:Dataset",
        "identifier": dataset.id,
        "title": {"zh": dataset.title_zh, "en": dataset.title_en},
        "description": {"zh": dataset.summary_zh, "en": dataset.summary_en},
        "publisher": {
            "@id": f"{base}/#{dataset.provider}",
            "@type": "foaf:Agent",
            "name": {"zh": zh, "en": en},
        },
        "modified": dataset.changed_at.isoformat(),
        "accessRights": {
            "@id": f"{_EU}/access-right/{_ACCESS[dataset.sharing]}",
            "@type": "dct:RightsStatement",
        },
        "conformsTo": {
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
        },
        "distribution": [
            {
                "@id": f"{address}#read",
                "@type": "dcat:Distribution",
                "accessURL": f"{base}/exchange/reads/{dataset.id}",
                "accessService": f"{base}/exchange#reads",
            }
        ],
    }
    if dataset.update_cycle in _FREQUENCY:
        frequency = f"{_EU}/frequency/{_FREQUENCY[dataset.update_cycle]}"
        found["accrualPeriodicity"] = {"@id": frequency, "@type": "dct:Frequency"}
    if dataset.sharing_condition_zh:
        found["hasPolicy"] = {
            "@id": f"{address}#condition",
            "@type": "odrl:Policy",
            "description": {"zh": dataset.sharing_condition_zh, "en": dataset.sharing_condition_en},
        }
    return found
