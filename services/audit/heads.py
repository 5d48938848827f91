"""Signed heads: the tree's size and root at a time, under a key the world knows."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from services.kit.canonical import canonical
from services.kit.client_keys import p256_key
from services.kit.settings import Settings

TYPE = "huimin-head+jws"


@dataclass(frozen=True, slots=True)
class SignedHead:
    """What a head says once its signature is checked.

    Attributes:
        previous: size of the head signed before it, so that none can be taken out; None for the first.
    """

    log: str
    size: int
    root: bytes
    at: datetime
    previous: int | None = None


class HeadSigner:
    """Signs for one log.

    Attributes:
        log: the log's name, its issuer's address.
    """

    def __init__(self, key: ECKey, log: str) -> None:
        key.ensure_kid()
        self._key = key
        self.log = log

    @classmethod
    def of(cls, settings: Settings) -> "HeadSigner":
        return cls(p256_key(settings.secret_for("audit", "head")), settings.issuer)

    def sign(self, head: SignedHead) -> str:
        """The head as a compact JWS over its canonical form."""
        said: dict[str, Any] = {
            "log": head.log,
            "size": head.size,
            "root": head.root.hex(),
            "at": head.at.astimezone(UTC).isoformat(),
        }
        if head.previous is not None:
            said["previous"] = head.previous
        header = {"alg": "ES256", "kid": self._key.kid, "typ": TYPE}
        return jws.serialize_compact(header, canonical(said), self._key)

    def public_keys(self) -> dict[str, Any]:
        """The JWK set that verifiers know us by."""
        public = self._key.as_dict(private=False)
        return {"keys": [{**public, "alg": "ES256", "use": "sig"}]}


class ForgedHeadError(Exception):
    """A head that none of the keys signed, or that does not say what a head says."""


def check_head(compact: str, keys: dict[str, Any]) -> SignedHead:
    """What the head says.

    Raises:
        ForgedHeadError: its signature does not hold.
    """
    try:
        found = jws.deserialize_compact(compact, KeySet.import_key_set(keys), algorithms=["ES256"])  # type: ignore[arg-type]
        said = orjson.loads(found.payload)
        return SignedHead(
            said["log"],
            int(said["size"]),
            bytes.fromhex(said["root"]),
            datetime.fromisoformat(said["at"]),
            said.get("previous"),
        )
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise ForgedHeadError(f"{type(error).__name__}: {error}") from error
