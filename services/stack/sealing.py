"""Files encrypted at rest: compressed, in chunks under AES-256-GCM, none of which can be altered, left out,
moved or taken for part of another file.

The STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: "Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance", CRYPTO 2015): the nonce counts the chunks and says which one is the last. Each
file has a key of its own (HKDF, RFC 5869) from its random salt and its name, so that a file put in another's
place does not open.
"""

import os
import secrets
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from hmac import digest
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.stack.terminal import Refusal

MAGIC = b"huimin1\n"
CHUNK = 2**20
_HEADER = struct.Struct(">8s8s16sQ")  # magic, which key, salt, time in ns
_LENGTH = struct.Struct(">I")
_OVERHEAD = 1024
"""What zlib and the tag add at most to a chunk that does not compress."""


class SealError(Refusal):
    """The file is not what was written, or not ours to read; the words say which."""


class OtherKeyError(SealError):
    """It was sealed with another secret."""


class Key:
    """What a secret seals with. `id` names it without telling anything of it."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.id = digest(secret, b"id", sha256)[:8]

    def of_file(self, header: bytes, name: str) -> AESGCM:
        salt = _HEADER.unpack(header)[2]
        return AESGCM(HKDF(SHA256(), 32, salt, b"huimin sealed " + name.encode()).derive(self._secret))


class Writer:
    """Takes bytes; what is behind it is whole only after `finish`."""

    def __init__(self, file: BinaryIO, key: Key, name: str, time_ns: int) -> None:
        self._file = file
        self._header = _HEADER.pack(MAGIC, key.id, secrets.token_bytes(16), time_ns)
        self._cipher = key.of_file(self._header, name)
        self._waiting = bytearray()
        self._number = 0
        file.write(self._header)

    def write(self, data: bytes) -> int:
        self._waiting += data
        while len(self._waiting) > CHUNK:
            self._seal(bytes(self._waiting[:CHUNK]), last=False)
            del self._waiting[:CHUNK]
        return len(data)

    def finish(self) -> None:
        self._seal(bytes(self._waiting), last=True)

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        sealed = self._cipher.encrypt(_nonce(self._number, last), zlib.compress(chunk, 1), self._header)
        self._file.write(_LENGTH.pack(len(sealed)) + sealed)
        self._number += 1


class Reader:
    """Gives the bytes back, each chunk only once it is known to be the one that was written there.

    Attributes:
        time: what the writer said, seconds since the epoch; true once something was read.
    """

    def __init__(self, file: BinaryIO, key: Key, name: str) -> None:
        self._file = file
        self._name = name
        self._header = file.read(_HEADER.size)
        if len(self._header) < _HEADER.size or not self._header.startswith(MAGIC):
            raise SealError(f"{name}: 不是本套件的加密文件 · is not a file this suite sealed")
        _, id, _, time_ns = _HEADER.unpack(self._header)
        if id != key.id:
            raise OtherKeyError(
                f"{name}: 由另一个密钥加密 · was sealed with another secret: set HUIMIN_SECRET to the one of "
                "the home it came from, or put that home's `secret` file into this one"
            )
        self.time = time_ns / 1e9
        self._cipher = key.of_file(self._header, name)
        self._number = 0
        self._chunk = b""
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        parts, missing = [], size if size >= 0 else 2**62
        while missing and (self._chunk or not self._ended):
            if not self._chunk:
                self._next()
            part, self._chunk = self._chunk[:missing], self._chunk[missing:]
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _next(self) -> None:
        length = self._file.read(_LENGTH.size)
        sealed = b""
        if len(length) == _LENGTH.size and (wanted := _LENGTH.unpack(length)[0]) <= CHUNK + _OVERHEAD:
            sealed = self._file.read(wanted)
        for last in (False, True):
            try:
                plain = self._cipher.decrypt(_nonce(self._number, last), sealed, self._header)
            except InvalidTag:
                continue
            self._chunk, self._ended = zlib.decompress(plain), last
            self._number += 1
            break
        else:
            raise self._bent("到此为止, 已截断 · is cut off there" if not length else "已损坏 · was altered")
        if self._ended and self._file.read(1):
            raise self._bent("其后有多余内容 · has more behind its end")

    def _bent(self, what: str) -> SealError:
        return SealError(
            f"{self._name}: 第 {self._number} 块{what} (chunk {self._number}); 不予使用 · not used"
        )


@contextmanager
def sealed(path: Path, key: Key, name: str, *, time_ns: int | None = None) -> Iterator[Writer]:
    """Writes a sealed file that is there whole, on disk, or not at all.

    Args:
        name: under which alone it can be opened.
        time_ns: kept with it, unalterably; now unless said otherwise.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            writer = Writer(file, key, name, time.time_ns() if time_ns is None else time_ns)
            yield writer
            writer.finish()
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def unsealed(path: Path, key: Key, name: str) -> Iterator[Reader]:
    """Opens a sealed file.

    Raises:
        SealError: it is not what was written under this name with this key; also from `read`.
    """
    with path.open("rb") as file:
        yield Reader(file, key, name)


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
