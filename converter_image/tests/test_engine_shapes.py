"""Requests against the shapes that engines were built for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tests.box import Box
from tests.test_serve import ask
from tests.test_shapes import given
from tftrt_runtime.contract.artifact import Sample
from tftrt_runtime.serve.engine_shapes import EngineShapes

IDS = {"ids": given(2, 8, 16)}


def ids(rows: int, length: int) -> dict[str, Any]:
    return {"ids": np.arange(rows * length, dtype=np.int32).reshape(rows, length)}


@pytest.mark.parametrize(("length", "taken"), [(1, False), (2, True), (5, True), (16, True), (17, False)])
@pytest.mark.parametrize("strategy", ["Range", "Range+Optimal"])
def test_a_range_takes_every_size_within_it(strategy: str, length: int, taken: bool) -> None:
    refusal = EngineShapes(strategy, (1, 4), IDS).refusal(ids(1, length))
    assert (refusal is None) == taken
    if refusal:
        assert refusal == f"the engines take 'ids' with the sizes from [2] to [16], not [{length}]"


@pytest.mark.parametrize(("length", "taken"), [(2, True), (5, False), (8, True), (16, True)])
def test_optimal_takes_the_sizes_that_were_built_and_no_others(length: int, taken: bool) -> None:
    refusal = EngineShapes("Optimal", (1, 4), IDS).refusal(ids(1, length))
    assert (refusal is None) == taken
    if refusal:
        assert "exactly the sizes 'ids' [2] or 'ids' [8] or 'ids' [16]" in refusal


def test_engines_of_one_size_take_no_other() -> None:
    refusal = EngineShapes(None, (1, 4), {"ids": given(8, 8, 8)}).refusal(ids(1, 9))
    assert refusal == "the engines take 'ids' with the sizes [8], not [9]"


def test_a_model_without_open_dimensions_refuses_nothing() -> None:
    assert EngineShapes("Optimal", (1, 4), {}).refusal(ids(1, 9)) is None


def test_only_under_optimal_a_batch_is_filled_up_to_the_next_size() -> None:
    asked = ids(2, 8)
    filled = EngineShapes("Optimal", (1, 4, 8), IDS).filled(asked)["ids"]
    np.testing.assert_array_equal(filled, asked["ids"][[0, 1, 1, 1]])
    for strategy in (None, "Range", "Range+Optimal"):
        assert EngineShapes(strategy, (1, 4, 8), IDS).filled(asked) is asked
    assert EngineShapes("Optimal", (1, 2), IDS).filled(asked) is asked


def test_a_batch_whose_answers_depend_on_each_other_is_not_filled_up_but_refused() -> None:
    shapes = EngineShapes("Optimal", (1, 4, 8), IDS, may_fill=False)
    refusal = shapes.refusal(ids(2, 8))
    assert refusal is not None
    assert refusal.startswith("the engines take exactly 1 or 4 or 8 items, not 2, and as the answers of this model")
    assert shapes.refusal(ids(4, 8)) is None
    assert EngineShapes("Range", (1, 4, 8), IDS, may_fill=False).refusal(ids(2, 8)) is None


def test_a_server_warms_up_every_size_once() -> None:
    usual = Sample(shapes={"ids": (8,), "mask": (3,)})
    shapes = [one.shapes["ids"] for one in EngineShapes("Range", (1,), IDS).samples(usual)]
    assert shapes == [(8,), (2,), (16,)]
    assert EngineShapes(None, (1,), {}).samples(usual) == [usual]


def test_a_server_fills_batches_up_and_refuses_other_sizes_in_a_sentence(
    converted: Callable[..., Box], tmp_path: Path
) -> None:
    box = Box(tmp_path, name="two")
    shutil.copytree(converted("two").product, box.product)
    manifest = json.loads((box.product / "manifest.json").read_text())
    manifest |= {"dynamicShapes": "Optimal", "inputShapes": {"ids": {"min": [3], "opt": [5], "max": [5]}}}
    (box.product / "manifest.json").write_text(json.dumps(manifest))
    server = box.serve()
    server.wait_until_ready()
    client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")

    def total(rows: int, length: int) -> Any:
        extra, unused = np.zeros((rows, 3), np.float16), np.zeros((rows, 1), np.bool_)
        inputs = {**ids(rows, length), "extra": extra, "unused": unused}
        return ask(tritonclient.grpc, client, "two", inputs, ["total"])["total"]

    for rows in (1, 3, 4):
        expected = 2.0 * ids(rows, 5)["ids"].sum(axis=1, keepdims=True)
        # Whole numbers: nothing is rounded.
        np.testing.assert_array_equal(total(rows, 5), np.broadcast_to(expected, (rows, 3)))
    with pytest.raises(InferenceServerException, match=r"exactly the sizes 'ids' \[3\] or 'ids' \[5\]"):
        total(1, 4)


@pytest.mark.parametrize("strategy", ["Range", "Optimal"])
def test_a_call_without_a_batch_is_held_to_all_its_sizes_and_never_filled(strategy: str) -> None:
    shapes = EngineShapes(strategy, (1,), {"ids": given(2, 4, 8)}, batched=False)
    for length in (2, 4, 8):
        asked = {"ids": np.zeros(length, np.int32)}
        assert shapes.refusal(asked) is None
        assert shapes.filled(asked) is asked
    assert "'ids'" in str(shapes.refusal({"ids": np.zeros(9, np.int32)}))
    fixed = {"ids": np.zeros((8, 3), np.int32)}
    assert EngineShapes(strategy, (8,), {}, batched=False).refusal(fixed) is None
    assert EngineShapes(strategy, (8,), {}, batched=False).filled(fixed) is fixed
