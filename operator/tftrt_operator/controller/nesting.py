"""JSON of any depth. The API server stores what is nested thousands of levels deep where a schema leaves a place open
(`pods.affinity`, the managed fields of anything), and Python's parser takes about a thousand: one such object would
end the watch and every list that it is in.
"""

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import aiohttp
import orjson

DEEPEST_LEVEL = 200
"""What lies deeper is left out. kopf copies each object by a function that calls itself, twice for a level."""
MOST_LEVELS_OF_A_SPEC = 100
"""No right spec comes near it; what compares and hashes specs calls itself at each level."""
_LEFT_OUT = '"nested too deep"'
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]')


def loads(text: str | bytes) -> Any:
    """Parse JSON; what is too deep for Python's parser is cut off at `DEEPEST_LEVEL`.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass  # it takes about a thousand levels as well, and no numbers beyond all bounds, which Python's own does
    try:
        return json.loads(text)
    except RecursionError:
        return json.loads(flattened(text if isinstance(text, str) else text.decode()))


def flattened(text: str) -> str:
    """Return JSON text with what lies deeper than `DEEPEST_LEVEL` left out."""
    kept: list[str] = []
    depth, begin = 0, 0
    for token in _TOKEN.finditer(text):
        match token.group():
            case "{" | "[":
                depth += 1
                if depth == DEEPEST_LEVEL + 1:
                    kept.append(text[begin : token.start()])
            case "}" | "]":
                depth -= 1
                if depth == DEEPEST_LEVEL:
                    kept.append(_LEFT_OUT)
                    begin = token.end()
    if depth <= DEEPEST_LEVEL:
        kept.append(text[begin:])
    return "".join(kept)


def is_nested_deeper(value: Any, levels: int) -> bool:
    """Return whether a JSON value has objects or lists within each other at more than so many levels."""
    layer = [value]
    for _ in range(levels):
        layer = [
            child
            for item in layer
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not layer:
            return False
    return any(isinstance(item, (dict, list)) for item in layer)


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of a stream, however long: aiohttp's own way ends at one of 4 MiB.

    What is stored as 1 MiB at most may be six times as long in a watch, where Go's JSON writes `<` as six bytes. What
    comes after the last line is no line: the connection broke in the middle of it.
    """
    parts: list[bytes] = []
    async for chunk in chunks:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield b"".join((*parts, end))
            parts = []
        parts.append(rest)


class FlatResponse(aiohttp.ClientResponse):
    """A response whose JSON is not deeper than Python's parser takes it: kopf parses what it reads by itself."""

    async def start(self, connection: Any) -> Self:
        """Take the response's head; its body, where it is a watch's, comes line by line."""
        await super().start(connection)
        if "watch" in self.url.query:
            self.content = _FlatLines(self.content, self.passes)  # type: ignore[assignment]
        return self

    def passes(self, _line: bytes) -> bool:
        """Return whether a line of a watch goes on to who reads it."""
        return True

    async def json(self, **settings: Any) -> Any:
        """Return the body, parsed; of a list each item is flat."""
        found = await super().json(**(settings | {"loads": loads}))
        if isinstance(found, dict) and isinstance(items := found.get("items"), list):
            found["items"] = [_flat(item) for item in items]
        return found


def _flat(item: Any) -> Any:
    return loads(flattened(json.dumps(item))) if is_nested_deeper(item, DEEPEST_LEVEL) else item


class _FlatLines:
    """A stream of JSON lines, each no deeper than it may be; in all else the stream that it is made of."""

    def __init__(self, stream: aiohttp.StreamReader, passes: Callable[[bytes], bool]) -> None:
        self._stream = stream
        self._passes = passes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def iter_chunked(self, _size: int) -> AsyncIterator[bytes]:
        """Yield the lines."""
        async for line in lines_of(self._stream.iter_any()):
            if not self._passes(line):
                continue
            may_be_deep = line.count(b"{") + line.count(b"[") > DEEPEST_LEVEL
            yield (flattened(line.decode()).encode() if may_be_deep else line) + b"\n"
