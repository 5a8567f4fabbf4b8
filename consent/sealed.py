"""A file that is encrypted while it is written, and decrypted while it is read: neither is ever whole in memory.

AES-256-GCM over pieces. The nonce of a piece is its number and whether it is the last one, so pieces cannot be left
out, exchanged or cut off unnoticed. A key encrypts one file only.
"""

import secrets
from collections.abc import Iterator
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cdp.kernel.errors import TesseraError

PIECE: Final = 64 * 1024
TAG: Final = 16


class BrokenSealError(TesseraError):
    """The file was changed, cut off, or encrypted with another key: build it again."""

    code = "broken_seal"


def new_key() -> str:
    return secrets.token_hex(32)


class SealedWriter:
    """Takes bytes as a file does. Without `close` the file has no last piece, and nobody can read it."""

    def __init__(self, file: BinaryIO, key: str) -> None:
        self._file = file
        self._cipher = AESGCM(bytes.fromhex(key))
        self._waiting = bytearray()
        self._number = 0
        self.size = 0

    def write(self, data: bytes) -> int:
        self._waiting += data
        self.size += len(data)
        while len(self._waiting) > PIECE:
            self._seal(bytes(self._waiting[:PIECE]), is_last=False)
            del self._waiting[:PIECE]
        return len(data)

    def flush(self) -> None:
        """A piece is written when it is full."""

    def close(self) -> None:
        self._seal(bytes(self._waiting), is_last=True)

    def _seal(self, piece: bytes, *, is_last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._number, is_last=is_last), piece, None))
        self._number += 1


def unsealed(file: BinaryIO, key: str) -> Iterator[bytes]:
    """The content, piece by piece. Raises `BrokenSealError` at the first piece that is not what was written."""
    cipher = AESGCM(bytes.fromhex(key))
    piece = file.read(PIECE + TAG)
    number = 0
    while True:
        following = file.read(PIECE + TAG)
        try:
            yield cipher.decrypt(_nonce(number, is_last=not following), piece, None)
        except InvalidTag:
            raise BrokenSealError from None
        if not following:
            return
        piece, number = following, number + 1


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if is_last else b"\0")
