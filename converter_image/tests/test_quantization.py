# mypy: disable-error-code="no-untyped-call"
"""What training with quantization leaves in a graph becomes what TensorRT takes, and computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import frozen, rewritten
from tests.test_engines import request
from tftrt_runtime.contract.errors import CalibrationDataUnfit
from tftrt_runtime.convert import engines
from tftrt_runtime.convert.rewrites import quantization

VARS = tf.quantization.fake_quant_with_min_max_vars
PER_CHANNEL = tf.quantization.fake_quant_with_min_max_vars_per_channel
ARGS = tf.quantization.fake_quant_with_min_max_args


def operations(function: Any) -> list[str]:
    return [operation.type for operation in function.graph.get_operations()]


@pytest.mark.parametrize(
    ("least", "most", "bits", "narrow"),
    [
        (-3.0, 3.0, 8, False),
        (0.0, 6.0, 8, False),
        (-0.5, 9.0, 8, True),
        (-6.0, 0.0, 4, False),
        (0.3, 4.0, 8, False),  # without 0, which the nudged range has
        (-4.0, -0.3, 8, True),
        (-1.0, 1e-3, 8, False),
    ],
)
def test_the_arithmetic_rounds_as_the_operation_does(least: float, most: float, bits: int, narrow: bool) -> None:
    def network(x: Any) -> Any:
        return VARS(x, least, most, num_bits=bits, narrow_range=narrow)

    function = frozen(network, [None, 64])
    (written, left), made = rewritten(function, quantization.write_out)
    assert (written, left) == (1, 0)
    assert not set(operations(made)) & quantization.FAKE_QUANT
    x = np.random.default_rng(1).normal(0, 2 * max(abs(least), abs(most)), (200, 64)).astype(np.float32)
    expected, found = function(tf.constant(x))[0].numpy(), made(tf.constant(x))[0].numpy()
    # A value in the middle between two steps may go to either: by a rounding of its quotient.
    step = (most - least) / (2**bits - 2)
    off = np.abs(found - expected)
    assert off.max() <= 1.01 * step
    assert np.mean(off > 1e-5 * max(abs(least), abs(most))) < 1e-3


def test_each_channel_may_have_a_range_of_its_own() -> None:
    most = np.array([1.0, 2.0, 0.5], np.float32)
    function = frozen(lambda x: PER_CHANNEL(x, -most, most), [None, 4, 3])
    (written, _), made = rewritten(function, quantization.write_out)
    assert written == 1
    x = np.random.default_rng(2).normal(0, 2, (5, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(made(tf.constant(x))[0], function(tf.constant(x))[0], atol=1e-6)


def test_weights_become_constants_whatever_becomes_of_activations() -> None:
    random = np.random.default_rng(3)
    weights, each = random.normal(size=(3, 3, 2, 4)).astype(np.float32), np.full(4, 0.7, np.float32)
    least = tf.Variable(-0.6)

    def network(x: Any) -> Any:
        kernel = PER_CHANNEL(VARS(ARGS(weights, -0.8, 0.8), least, 0.6, narrow_range=True), -each, each)
        return ARGS(tf.nn.conv2d(x, kernel, 1, "SAME"), -2.0, 2.0)

    function = frozen(network, [None, 8, 8, 2])
    folded, made = rewritten(function, quantization.fold_weights)
    assert folded == 3
    assert [kind for kind in operations(made) if kind in quantization.FAKE_QUANT] == ["FakeQuantWithMinMaxArgs"]
    x = random.normal(size=(2, 8, 8, 2)).astype(np.float32)
    np.testing.assert_allclose(made(tf.constant(x))[0], function(tf.constant(x))[0], atol=1e-6)
    assert len(quantization.of_activations(made.graph.as_graph_def())) == 1


def test_a_range_that_is_computed_is_left() -> None:
    function = frozen(lambda x: VARS(x, tf.reduce_min(x), tf.reduce_max(x)), [None, 4])
    (written, left), _ = rewritten(function, quantization.write_out)
    assert (written, left) == (0, 1)


@pytest.mark.parametrize(
    ("precision", "kept", "told"),
    [
        ("FP32", 0, "4 of its 4 roundings of activations are computed as it has them"),
        ("FP16", 0, "4 of its 4 roundings of activations are computed as it has them"),
        ("INT8", 4, "INT8 by 4 ranges that the graph has of its own, without calibration data"),
    ],
)
@pytest.mark.usefixtures("no_tensorrt")
def test_each_precision_is_given_what_it_takes_and_the_report_says_so(
    exported: Path, tmp_path: Path, precision: str, kept: int, told: str
) -> None:
    converter = engines.new_converter(request(exported / "quantized", tmp_path, precision=precision))
    function = converter.convert()
    assert len([kind for kind in operations(function) if kind in quantization.FAKE_QUANT]) == kept
    (remark,) = converter.remarks
    assert told in remark


@pytest.mark.usefixtures("no_tensorrt")
def test_int8_without_data_and_without_ranges_is_refused(exported: Path, tmp_path: Path) -> None:
    converter = engines.new_converter(request(exported / "jitted", tmp_path, precision="INT8"))
    with pytest.raises(CalibrationDataUnfit, match=r"none of its own \(FakeQuant.*spec.conversion.calibration"):
        converter.convert()
