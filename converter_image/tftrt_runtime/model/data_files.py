"""What a file of the user's data is: by its name, and where that says nothing, by how it begins."""

from __future__ import annotations

import enum
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from tftrt_runtime.fetching import desktop

_NUMPY_NAMES = (".npz", ".npy")
# As TensorFlow, TFX, its object detection and Kaggle name them.
_TFRECORD_NAME = re.compile(r".+\.(tfrecords?|tfrec|records?)(-\d+-of-\d+)?(\.gz)?", re.IGNORECASE)

_NPY, _ZIP, _GZIP = b"\x93NUMPY", b"PK\x03\x04", b"\x1f\x8b"
_GZIP_BITS = 16 + zlib.MAX_WBITS  # zlib's own way to be told of gzip
_HEAD_BYTES = 512  # enough of a compressed file for the first bytes in it, whatever name a gzip header has

_PIECE_BYTES = 1 << 20

# A record begins with its length in 8 bytes, and 4 of that one's checksum, which is CRC-32C, masked.
_LENGTH_BYTES, _HEADER_BYTES = 8, 12
_CRC_POLYNOMIAL, _CRC_MASK = 0x82F63B78, 0xA282EAD8


class Kind(enum.Enum):
    """A kind of file; the value of one of TFRecord is how it is compressed, in TensorFlow's word."""

    NUMPY = "numpy"
    PLAIN_RECORDS = ""
    GZIP_RECORDS = "GZIP"
    ZLIB_RECORDS = "ZLIB"
    OTHER = "other"


def kind(file: Path) -> Kind:
    """What the file is. One that is named like a TFRecord file is taken for one, whatever it holds.

    Raises:
        OSError: it cannot be read.
    """
    if file.suffix.lower() in _NUMPY_NAMES:
        return Kind.NUMPY
    with file.open("rb") as reader:
        head = reader.read(_HEAD_BYTES)
    if _begins_a_record(head):
        return Kind.PLAIN_RECORDS
    is_gzip = head.startswith(_GZIP)
    unpacked = _unpacked(head, _GZIP_BITS if is_gzip else zlib.MAX_WBITS)
    if _begins_a_record(unpacked):
        return Kind.GZIP_RECORDS if is_gzip else Kind.ZLIB_RECORDS
    if _TFRECORD_NAME.fullmatch(file.name):
        return Kind.GZIP_RECORDS if is_gzip else Kind.PLAIN_RECORDS
    if head.startswith(_NPY) or (head.startswith(_ZIP) and _holds_arrays(file)):
        return Kind.NUMPY
    return Kind.OTHER


def is_whole(file: Path, kind: Kind) -> bool:
    """Whether a file that is compressed goes on to its end: TensorFlow takes one that breaks off for one that ends."""
    if kind not in (Kind.GZIP_RECORDS, Kind.ZLIB_RECORDS):
        return True
    inflater = zlib.decompressobj(_GZIP_BITS if kind is Kind.GZIP_RECORDS else zlib.MAX_WBITS)
    try:
        with file.open("rb") as reader:
            while not inflater.eof and (piece := reader.read(_PIECE_BYTES)):
                while piece and not inflater.eof:
                    inflater.decompress(piece, _PIECE_BYTES)
                    piece = inflater.unconsumed_tail
    except zlib.error:
        return False
    return inflater.eof


def arrays_of(loaded: Any) -> Iterable[str]:
    """The names of the arrays in an opened `.npz`, which may hold other files."""
    return [name.removesuffix(".npy") for name in loaded.zip.namelist() if _is_an_array(name)]


def picture(text: bytes) -> str:
    """The format of a picture's file that these bytes are, or nothing."""
    for name, is_one in _PICTURES.items():
        if is_one(text):
            return name
    return ""


_PICTURES: dict[str, Callable[[bytes], bool]] = {
    # Pixels may begin like a picture of this format, whose own mark is but three bytes, and do not end like one.
    "JPEG": lambda text: text.startswith(b"\xff\xd8\xff") and b"\xff\xd9" in text[-64:],
    "PNG": lambda text: text.startswith(b"\x89PNG\r\n\x1a\n"),
    "GIF": lambda text: text.startswith((b"GIF87a", b"GIF89a")),
    "WebP": lambda text: text.startswith(b"RIFF") and text[8:12] == b"WEBP",
    "BMP": lambda text: text.startswith(b"BM") and text[2:6] == len(text).to_bytes(4, "little"),
    "TIFF": lambda text: text.startswith((b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08")),
}


def _holds_arrays(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as opened:
            return any(map(_is_an_array, opened.namelist()))
    except zipfile.BadZipFile:
        return False


def _is_an_array(member: str) -> bool:
    return member.endswith(".npy") and not desktop.is_left_by_one(PurePosixPath(member))


def _unpacked(head: bytes, bits: int) -> bytes:
    """How what is compressed begins, or nothing."""
    try:
        return zlib.decompressobj(bits).decompress(head, _HEADER_BYTES)
    except zlib.error:
        return b""


def _begins_a_record(head: bytes) -> bool:
    length, checksum = head[:_LENGTH_BYTES], head[_LENGTH_BYTES:_HEADER_BYTES]
    if len(checksum) < _HEADER_BYTES - _LENGTH_BYTES:
        return False
    crc = _crc32c(length)
    masked = ((crc >> 15 | crc << 17) + _CRC_MASK) & 0xFFFFFFFF
    return masked == int.from_bytes(checksum, "little")


def _crc32c(text: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in text:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CRC_POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
