"""The bytes of a push, kept so that the database alone cannot read them: they hold children's numbers."""

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.kit.settings import Settings

PART_BYTES = 1024 * 1024
_NONCE_BYTES = 12


def seal(settings: Settings, body: bytes, import_id: str) -> list[bytes]:
    """AES-256-GCM over pieces of one megabyte, each bound to its import and place."""
    cipher = AESGCM(_key(settings))
    parts: list[bytes] = []
    for start in range(0, len(body), PART_BYTES):
        nonce = os.urandom(_NONCE_BYTES)
        about = f"{import_id}/{len(parts)}".encode()
        parts.append(nonce + cipher.encrypt(nonce, body[start : start + PART_BYTES], about))
    return parts


def unseal(settings: Settings, parts: list[bytes], import_id: str) -> bytes:
    """Raises cryptography's InvalidTag when a piece was altered, left out of order or sealed for another."""
    cipher = AESGCM(_key(settings))
    return b"".join(
        cipher.decrypt(part[:_NONCE_BYTES], part[_NONCE_BYTES:], f"{import_id}/{n}".encode())
        for n, part in enumerate(parts)
    )


def _key(settings: Settings) -> bytes:
    return settings.secret_for("education", "imports")
