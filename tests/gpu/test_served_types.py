"""Pictures as bytes on a GPU: the engine of the model as it is, behind what makes its own values of them.

The bounds are those of `test_models_and_precisions.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.gpu.test_models_and_precisions import answers, ask, expect_int8, published, served

BYTES = {"image": {"dtype": "UINT8", "scale": ["0.00392156862745098"], "offset": ["0"]}}
HALVES = {"image": {"dtype": "FP16", "scale": ["0.00392156862745098"], "offset": ["0"]}}
CALIBRATION = {"uri": "pvc://models/calibration/bytes", "samples": 64, "batchSize": 8}


def expect_served(box: Any, models: Path, dtype: Any, bound: float) -> None:
    """Ask a server for the bytes that became what the unconverted model was asked."""
    inputs, outputs = answers(models, "cnn")
    pixels = np.rint(inputs["image"] * 255).astype(dtype)
    running = served(box)
    np.testing.assert_allclose(ask(running, "cnn", {"image": pixels}, "classes"), outputs["classes"], atol=bound)
    assert running.stop().code == 0


@pytest.mark.parametrize(("given", "dtype"), [(BYTES, np.uint8), (HALVES, np.float16)], ids=["bytes", "halves"])
@pytest.mark.parametrize("shapes", [None, "Range+Optimal"], ids=["fixed", "dynamic"])
def test_the_engine_is_that_of_the_model_as_it_is(
    new_box: Callable[..., Any], models: Path, given: dict[str, Any], dtype: Any, shapes: str | None
) -> None:
    without = published(new_box("cnn", precision="FP16", dynamicShapes=shapes))
    box = new_box("cnn", precision="FP16", dynamicShapes=shapes, inputs=given)
    summary = published(box)
    assert (summary["engines"], summary["convertedOps"]) == (1, without["convertedOps"])
    assert Decimal(summary["verification"]["maxRelativeError"]) < Decimal("0.02")
    expect_served(box, models, dtype, 0.01)


def test_int8_is_calibrated_on_bytes(new_box: Callable[..., Any], models: Path) -> None:
    box = new_box("cnn", precision="INT8", calibration=CALIBRATION, inputs=BYTES)
    expect_int8(published(box), [1, 4])
    expect_served(box, models, np.uint8, 0.1)


def test_it_is_right_where_the_smallest_segments_become_engines(new_box: Callable[..., Any], models: Path) -> None:
    box = new_box("cnn", precision="FP16", minimumSegmentSize=1, inputs=BYTES)
    published(box)
    expect_served(box, models, np.uint8, 0.01)


def test_one_picture_and_no_other_may_be_bytes(new_box: Callable[..., Any]) -> None:
    summary = published(new_box("of-one", precision="FP16", inputs=BYTES))
    assert (summary["batched"], summary["engines"]) == (False, 1)
    assert [tensor["dtype"] for tensor in summary["inputs"]] == ["UINT8"]
    assert Decimal(summary["verification"]["maxRelativeError"]) < Decimal("0.02")
