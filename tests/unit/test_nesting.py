"""JSON of any depth."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from tftrt_operator.controller.nesting import DEEPEST_LEVEL, FlatResponse, flattened, is_nested_deeper, loads

from .fake_api_server import FakeApiServer, feed_of, says, streams

AFTER = {"x": '"[{'}


def nested(levels: int, inside: str = "1") -> str:
    return '{"a":' * levels + inside + "}" * levels


def depth_of(value: Any) -> int:
    depth = 0
    while isinstance(value, dict):
        value, depth = value["a"], depth + 1
    return depth


@pytest.mark.parametrize("levels", [1, DEEPEST_LEVEL, DEEPEST_LEVEL + 1, 900, 20_000])
def test_what_lies_too_deep_is_left_out_and_all_else_stays(levels: int) -> None:
    text = f'{{"before": {json.dumps(["}", 1])}, "deep": {nested(levels)}, "after": {json.dumps(AFTER)}}}'
    found = json.loads(flattened(text))
    assert (found["before"], found["after"]) == (["}", 1], AFTER)
    assert depth_of(found["deep"]) == min(levels, DEEPEST_LEVEL - 1)
    read = loads(text)
    assert (read["before"], read["after"]) == (["}", 1], AFTER)


@pytest.mark.parametrize("text", ["{", "[" * 5000, "]" * 5000, '{"a": }', ""])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(text)


@pytest.mark.parametrize(("levels", "expected"), [(0, False), (100, False), (101, True), (5000, True)])
def test_the_depth_of_a_spec_is_counted_without_descending_into_it(levels: int, expected: bool) -> None:
    value: Any = 1
    for number in range(levels):
        value = {"a": value, "b": 2} if number % 2 else [value, 3]
    assert is_nested_deeper(value, 100) is expected


@pytest.mark.parametrize("levels", [400, 900, 9000])
async def test_what_kopf_reads_by_itself_is_flat(levels: int) -> None:
    """It lists by `json()` and watches by the lines of the content."""
    line = f'{{"type": "ADDED", "object": {nested(levels)}}}\n'.encode()
    listed = f'{{"kind": "List", "items": [{nested(levels)}, {nested(3)}]}}'.encode()
    async with FakeApiServer() as server:
        server.answers = [says(listed), streams(feed_of(line))]
        async with aiohttp.ClientSession(response_class=FlatResponse) as session:
            async with session.get(f"{server.address}/list") as response:
                items = (await response.json())["items"]
                assert depth_of(items[0]) <= DEEPEST_LEVEL
                assert depth_of(items[1]) == 3
            async with session.get(f"{server.address}/watch", params={"watch": "true"}) as response:
                chunks = response.content.iter_chunked(1024)
                assert depth_of(json.loads(await anext(chunks))["object"]) == DEEPEST_LEVEL - 1
                response.close()
