"""JSON values as text, which takes a tenth of the memory that they take as dictionaries."""

import hashlib
import json
from collections.abc import ItemsView, Iterator, Mapping
from typing import Any

import orjson

from .nesting import loads


def pack(value: Any) -> bytes:
    """Return a JSON value as text, the same for the same value.

    Raises:
        TypeError, RecursionError: it is none, or nested too deep.
    """
    try:
        # As a copy: what orjson (3.13) returns keeps the memory that it was written into, 32 KiB for each 4.
        return bytes(memoryview(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)))
    except TypeError:  # it takes no halves of characters and no large numbers, which Python's own does
        return json.dumps(value, sort_keys=True).encode()


def fingerprint_of(value: Any) -> bytes:
    """Return 16 bytes that are the same for the same JSON value.

    Raises:
        TypeError, RecursionError: it is none, or nested too deep.
    """
    return hashlib.blake2b(pack(value), digest_size=16).digest()


class Packed(Mapping[str, Any]):
    """A JSON object that is kept as text, and parsed whenever it is looked into."""

    __slots__ = ("_text",)

    def __init__(self, value: Mapping[str, Any]) -> None:
        self._text = pack(value)

    def __getitem__(self, key: str) -> Any:
        """Return a part."""
        return self._parsed()[key]

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the parts."""
        return iter(self._parsed())

    def __len__(self) -> int:
        """Return how many parts it has."""
        return len(self._parsed())

    def get(self, key: str, default: Any = None) -> Any:
        """Return a part, or another value where there is none."""
        return self._parsed().get(key, default)

    def items(self) -> ItemsView[str, Any]:
        """Return all parts with their names, parsed once."""
        return self._parsed().items()

    def _parsed(self) -> dict[str, Any]:
        found: dict[str, Any] = loads(self._text)
        return found
