"""The text of a file, whatever it is packed in: surveyed once, opened at any offset, read line by line.

The survey reads the whole file in one pass: its digest, by which a load is known, and whether all of it is text. It
costs a second for a gigabyte, and it is the reason why a file that was changed in the middle never resumes, and why
one that is no text is refused before its first row.
"""

import codecs
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import charset_normalizer

from cdp.kernel.errors import TesseraError

LONGEST_LINE: Final = 2**20
KEPT_OF_A_LONG_LINE: Final = 1_000
SAMPLE: Final = 2**18
PACKINGS: Final = (".gz", ".zst")
_BLOCK: Final = 2**20
_BOMS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))

# In which systems save files; others, such as those of old terminals, fit nearly any text and are never meant.
_ENCODINGS: Final = (
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp850", "mac_roman", "iso8859_2",
    "koi8_r", "cp932", "euc_jp", "gb18030", "big5", "euc_kr",
)  # fmt: skip
_WESTERN: Final = ("cp1252", "cp850", "mac_roman")  # of Windows, of its console and of old Macs: the usual one first
_NEAR_ENOUGH: Final = 0.1  # of two guesses at an encoding the more usual one, unless the other is clearly better
_ODD: Final = re.compile(r"(?<=[a-z])[^\W\d_a-zß-öø-ÿœšž]|(?<=[a-z])[^\w\s\x00-\x7f’°²³€®™»…·]")  # as in `prŽnom`
_MOST_ODD: Final = 0.25  # of what is not ASCII
_DAMAGED: Final = (EOFError, zlib.error, gzip.BadGzipFile, OSError)


class FileError(TesseraError):
    """The file cannot be read."""

    code = "unreadable_file"


class UndecodableFileError(FileError):
    """The file is no text in an encoding that can be recognised: save it as UTF-8."""

    code = "undecodable_file"


class DamagedFileError(FileError):
    """The file cannot be unpacked: it is damaged, or not what its ending says."""

    code = "damaged_file"


@dataclass(frozen=True, slots=True)
class Text:
    """A surveyed text file. `charset` decodes its lines once it is opened."""

    path: Path
    encoding: str
    is_recoded: bool  # its line breaks are no single byte, or the old carriage return: then it is read as UTF-8
    digest: str

    @property
    def charset(self) -> str:
        return "utf-8" if self.is_recoded or self.encoding == "utf-8-sig" else self.encoding

    @property
    def total(self) -> int:
        return 0 if self.is_recoded or packing_of(self.path) else self.path.stat().st_size

    def open(self, offset: int = 0) -> BinaryIO:
        """At a plain file's offset at once; what is packed is unpacked up to there."""
        file = _unpacked(self.path, self.path.open("rb"))
        if self.is_recoded:
            file = cast("BinaryIO", io.BufferedReader(_Recoded(file, self.encoding), _BLOCK))
        first = len(codecs.BOM_UTF8) if self.encoding == "utf-8-sig" else 0
        _skip(file, max(offset, first))
        return file

    def beginning(self) -> str:
        """So much that it shows what the file is; the last line may be cut."""
        with self.open() as file:
            return file.read(SAMPLE).decode(self.charset, errors="ignore")


def packing_of(path: Path) -> str:
    return path.suffix.lower() if path.suffix.lower() in PACKINGS else ""


def digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_through(path: Path, *, encoding: str = "") -> Text:
    """Read all of it once. `encoding` is what people say it is. Raises `UndecodableFileError`, `DamagedFileError`."""
    try:
        return _surveyed(path, encoding or _marked(path))
    except UndecodableFileError as error:
        guess = None if encoding else _guess(_around(path, error.details["byte"]))
        if guess is None:
            raise
        return _surveyed(path, guess)


# -- the survey -----------------------------------------------------------------------------------------------------


class _Hashed(io.RawIOBase):
    """A file that is hashed on its way to whoever unpacks it: by `thread`, while the same block is looked at here."""

    def __init__(self, file: BinaryIO, thread: Executor) -> None:
        self.file = file
        self._hash = hashlib.sha256()
        self._thread = thread
        self._hashing = thread.submit(self._hash.update, b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  # any buffer
        block = self.file.read(len(buffer))
        self._hashing.result()
        self._hashing = self._thread.submit(self._hash.update, block)
        buffer[: len(block)] = block
        return len(block)

    def digest(self) -> str:
        self._hashing.result()
        return self._hash.hexdigest()


def _surveyed(path: Path, encoding: str) -> Text:
    with path.open("rb") as raw, ThreadPoolExecutor(1, thread_name_prefix="hashing") as thread:
        hashed = _Hashed(raw, thread)
        has_newline, has_return = _checked(path, _blocks(path, hashed), encoding)
        while hashed.read(_BLOCK):  # what lies behind the end of the packed text
            pass
        digest = hashed.digest()
    is_recoded = not _breaks_lines_by_byte(encoding) or (has_return and not has_newline)
    return Text(path, encoding, is_recoded, digest)


def _blocks(path: Path, hashed: _Hashed) -> Iterator[bytes]:
    file = _unpacked(path, cast("BinaryIO", io.BufferedReader(hashed, _BLOCK)))
    try:
        while block := file.read(_BLOCK):
            yield block
    except _DAMAGED:
        raise DamagedFileError(f"{path.name} cannot be unpacked: it is damaged, or not what its ending says.") from None


def _checked(path: Path, blocks: Iterator[bytes], encoding: str) -> tuple[bool, bool]:
    """Whether there are line feeds and carriage returns. Raises `UndecodableFileError` with the first byte's place."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset = 0
    has_newline = has_return = False
    is_plain = encoding == "utf-8"
    for block in blocks:
        pending = len(decoder.getstate()[0])
        try:
            if pending or not (is_plain and block.isascii()):  # ASCII is told ten times as fast as it is decoded
                decoder.decode(block)
        except UnicodeDecodeError as error:
            raise _no_text(path, encoding, offset - pending + error.start) from None
        has_newline, has_return = has_newline or b"\n" in block, has_return or b"\r" in block
        offset += len(block)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise _no_text(path, encoding, offset - len(decoder.getstate()[0])) from None
    return has_newline, has_return


def _no_text(path: Path, encoding: str, byte: int) -> UndecodableFileError:
    line = 1 + _newlines_before(path, byte)
    message = f"{path.name} is no {encoding} text at byte {byte} (line {line}): save it as UTF-8."
    return UndecodableFileError(message, byte=byte, line=line)


def _newlines_before(path: Path, byte: int) -> int:
    found = 0
    with _unpacked(path, path.open("rb")) as file:
        while byte and (block := file.read(min(byte, _BLOCK))):
            found += block.count(b"\n")
            byte -= len(block)
    return found


def _marked(path: Path) -> str:
    """The encoding that the file's mark names, or else UTF-8."""
    try:
        with _unpacked(path, path.open("rb")) as file:
            start = file.read(4)
    except _DAMAGED:
        raise DamagedFileError(f"{path.name} cannot be unpacked: it is damaged, or not what its ending says.") from None
    return next((encoding for bom, encoding in _BOMS if start.startswith(bom)), "utf-8")


def _around(path: Path, byte: int) -> bytes:
    with _unpacked(path, path.open("rb")) as file:
        _skip(file, max(byte - SAMPLE // 2, 0) if byte >= SAMPLE else 0)
        return file.read(SAMPLE)


def _guess(sample: bytes) -> str | None:
    if b"\x00" in sample:  # no text in any encoding of single bytes, and UTF-16 begins with its mark
        return None
    best = charset_normalizer.from_bytes(sample, cp_isolation=list(_ENCODINGS)).best()
    if best is None:
        return None
    likely = (encoding for encoding in _WESTERN if _is_likely(sample, encoding, best.chaos + _NEAR_ENOUGH))
    return next(likely, best.encoding)


def _is_likely(sample: bytes, encoding: str, chaos: float) -> bool:
    """Asked alone, because among others an encoding is left out where it reads the text as another one does."""
    match = charset_normalizer.from_bytes(sample, cp_isolation=[encoding]).best()
    if match is None or match.chaos > chaos:
        return False
    text = str(match)
    return len(_ODD.findall(text)) <= _MOST_ODD * sum(not char.isascii() for char in text)


def _breaks_lines_by_byte(encoding: str) -> bool:
    return "\n".encode(encoding.removesuffix("-sig")) == b"\n"


# -- opening --------------------------------------------------------------------------------------------------------


def _unpacked(path: Path, file: BinaryIO) -> BinaryIO:
    packing = packing_of(path)
    if packing == ".gz":
        return cast("BinaryIO", _Closing(gzip.GzipFile(fileobj=file), file))
    if packing == ".zst":
        import pyarrow as pa  # noqa: PLC0415  # slow to load, and only this packing needs it

        return cast("BinaryIO", _Closing(pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd"), file))
    return file


class _Closing(io.BufferedReader):
    """What unpacks leaves the file below it open; here both end together."""

    def __init__(self, unpacking: Any, below: BinaryIO) -> None:  # noqa: ANN401  # of gzip or Arrow
        super().__init__(cast("io.RawIOBase", _Unpacking(unpacking)), _BLOCK)
        self.below = below

    def close(self) -> None:
        super().close()
        self.below.close()


class _Unpacking(io.RawIOBase):
    def __init__(self, source: Any) -> None:  # noqa: ANN401  # of gzip or Arrow
        self.source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  # any buffer
        block = self.source.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


class _Recoded(io.RawIOBase):
    """A file as UTF-8 with line feeds, whatever it is written in."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self.file = file
        self.decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
        self.ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  # any buffer
        while not self.ready:
            block = self.file.read(_BLOCK)
            self.ready = self.decoder.decode(block, final=not block).encode("utf-8", "replace")
            if not block:
                break
        size = min(len(buffer), len(self.ready))
        buffer[:size], self.ready = self.ready[:size], self.ready[size:]
        return size

    def close(self) -> None:
        self.file.close()
        super().close()


def _skip(file: BinaryIO, offset: int) -> None:
    if file.seekable():
        file.seek(offset)
        return
    while offset and (block := file.read(min(offset, _BLOCK))):
        offset -= len(block)


# -- lines ----------------------------------------------------------------------------------------------------------


class LineTooLongError(Exception):
    """A line was passed over; its beginning is kept."""

    def __init__(self, number: int, start: str) -> None:
        super().__init__(number)
        self.number = number
        self.start = start


class Lines:
    """The lines of an opened text, and how far they were read. The next call after `LineTooLongError` goes on."""

    def __init__(self, file: BinaryIO, charset: str, *, offset: int, number: int) -> None:
        self.file = file
        self.charset = charset
        self.offset = offset
        self.number = number
        self.held: list[str] = []  # since `hold`: what a row that turns out to be bad is kept by

    def __iter__(self) -> "Lines":
        return self

    def hold(self) -> None:
        self.held.clear()

    def __next__(self) -> str:
        line = self.file.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        self.offset += len(line)
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            self._skip_the_rest()
            raise LineTooLongError(self.number, line[:KEPT_OF_A_LONG_LINE].decode(self.charset, "replace"))
        text = line.decode(self.charset, "replace")
        if "\x00" in text:
            text = text.replace("\x00", "\ufffd")
        self.held.append(text)
        return text

    def _skip_the_rest(self) -> None:
        while rest := self.file.readline(LONGEST_LINE):
            self.offset += len(rest)
            if rest.endswith(b"\n"):
                return
