"""Open datasets as entries of the DCAT-AP 3 catalogue: each with its newest release as CSV and Parquet."""

from collections.abc import Mapping
from typing import Any

from services.exchange.open_data.products import Product, products
from services.kit.database import Row

_EU = "http://publications.europa.eu/resource/authority"
_IANA = "https://www.iana.org/assignments/media-types"
_FILES = {
    "csv": ("CSV", f"{_IANA}/text/csv"),
    "parquet": ("PARQUET", f"{_IANA}/application/vnd.apache.parquet"),
}


def entries(newest: Mapping[str, Row], base: str) -> list[dict[str, Any]]:
    """The products that have something published."""
    return [_dataset(product, newest[id], base) for id, product in products().items() if id in newest]


def _dataset(product: Product, release: Row, base: str) -> dict[str, Any]:
    address = f"{base}/open-data/products/{product.id}"
    columns: list[dict[str, Any]] = [
        {
            "columnName": one.name,
            "columnTitle": {"zh": one.title_zh, "en": one.title_en},
            "datatype": "string",
        }
        for one in product.dimensions
    ]
    counted: dict[str, Any] = {
        "columnName": product.counts,
        "columnTitle": {"zh": "数量", "en": "Count"},
        "datatype": "integer",
    }
    return {
        "@id": address,
        "@type": "dcat:Dataset",
        "identifier": f"open-data.{product.id}",
        "title": {"zh": product.title_zh, "en": product.title_en},
        "description": {"zh": product.summary_zh, "en": product.summary_en},
        "publisher": {
            "@id": f"{base}/#publisher",
            "@type": "foaf:Agent",
            "name": {"zh": "惠民", "en": "Huimin"},
        },
        "modified": release["ended_at"].isoformat(),
        "dcat:version": str(release["version"]),
        "accessRights": {"@id": f"{_EU}/access-right/PUBLIC", "@type": "dct:RightsStatement"},
        "conformsTo": {
            "@id": f"{address}#columns",
            "@type": ["dct:Standard", "csvw:Schema"],
            "column": [{"@type": "csvw:Column", **column} for column in (*columns, counted)],
        },
        "distribution": [_file(address, release, kind) for kind in _FILES],
    }


def _file(address: str, release: Row, kind: str) -> dict[str, Any]:
    format, media_type = _FILES[kind]
    url = f"{address}/releases/{release['version']}/{kind}"
    return {
        "@id": f"{url}#file",
        "@type": "dcat:Distribution",
        "accessURL": f"{address}/releases/{release['version']}",
        "dcat:downloadURL": {"@id": url},
        "dcat:byteSize": {"@value": str(release[f"{kind}_bytes"]), "@type": "xsd:nonNegativeInteger"},
        "dcat:mediaType": {"@id": media_type, "@type": "dct:MediaType"},
        "dct:format": {"@id": f"{_EU}/file-type/{format}", "@type": "dct:MediaTypeOrExtent"},
        "http://spdx.org/rdf/terms#checksum": {
            "@type": "http://spdx.org/rdf/terms#Checksum",
            "http://spdx.org/rdf/terms#algorithm": {
                "@id": "http://spdx.org/rdf/terms#checksumAlgorithm_sha256",
                "@type": "http://spdx.org/rdf/terms#ChecksumAlgorithm",
            },
            "http://spdx.org/rdf/terms#checksumValue": {
                "@value": release[f"{kind}_sha256"],
                "@type": "xsd:hexBinary",
            },
        },
    }
