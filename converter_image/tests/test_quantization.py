# mypy: disable-error-code="no-untyped-call"
"""What training with quantization leaves in a graph becomes what TensorRT takes, and computes the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import frozen, in_a_loop, rewritten, stays
from tests.test_engines import request_of
from tftrt_runtime.contract.errors import CalibrationDataUnfit
from tftrt_runtime.convert import engines
from tftrt_runtime.convert.messages import CalibrationData
from tftrt_runtime.convert.rewrites import beside, quantization
from tftrt_runtime.convert.rewrites.graph_defs import become
from tftrt_runtime.model.samples import Batch

VARS = tf.quantization.fake_quant_with_min_max_vars
PER_CHANNEL = tf.quantization.fake_quant_with_min_max_vars_per_channel
ARGS = tf.quantization.fake_quant_with_min_max_args


def operations(function: Any) -> list[str]:
    return [operation.type for operation in function.graph.get_operations()]


RANGES = [
    (-3.0, 3.0, 8, False),
    (0.0, 6.0, 8, False),
    (-0.5, 9.0, 8, True),
    (-6.0, 0.0, 4, False),
    (-4.0, 0.3, 2, False),
    (-1.0, 1e-3, 8, False),
    (-17.3, 211.9, 8, True),
    (-0.013, 0.0071, 7, False),
]


def between(least: float, most: float, bits: int) -> Any:
    """Numbers in a range and beside it, and nearly in the middle between its steps."""
    random = np.random.default_rng(1).uniform(2 * least - most, 2 * most - least, 20_000).astype(np.float32)
    halves = np.concatenate(
        [
            least + (np.arange(2**bits) + np.float32(0.5)) * (most - least) / np.float32(2**bits - 1 - narrow)
            for narrow in (False, True)
        ]
    ).astype(np.float32)
    up, down = np.float32(np.inf), np.float32(-np.inf)
    return np.concatenate([random, halves, np.nextafter(halves, up), np.nextafter(halves, down)])


@pytest.mark.parametrize(("least", "most", "bits", "narrow"), RANGES)
@pytest.mark.parametrize("kind", [VARS, ARGS, PER_CHANNEL])
def test_the_arithmetic_makes_the_same_bits_as_the_operation(
    kind: Any, least: float, most: float, bits: int, narrow: bool
) -> None:
    spans = [least, most] if kind is not PER_CHANNEL else [[least, 2 * least - 0.1], [most, 3 * most + 0.1]]

    def network(x: Any) -> Any:
        return kind(x, *spans, num_bits=bits, narrow_range=narrow)

    function = frozen(network, [None, 2])
    written, made = rewritten(function, quantization.WRITTEN_OUT)
    assert written == 1
    assert not set(operations(made)) & quantization.FAKE_QUANT
    x = tf.constant(np.stack([between(least, most, bits)] * 2, axis=1))
    with beside.without_optimizations():  # which would multiply by the inverse where the graph divides
        expected, found = function(x)[0].numpy(), made(x)[0].numpy()
    assert len(np.unique(expected[:, 0])) == 2**bits - narrow
    np.testing.assert_array_equal(found, expected)


def test_weights_in_a_loop_become_constants_of_an_iteration() -> None:
    weights = np.random.default_rng(3).normal(size=(3, 3)).astype(np.float32)
    function = frozen(in_a_loop(lambda x: x @ ARGS(VARS(tf.constant(weights), -1.0, 1.0), -0.5, 0.5)), [None, 3])
    folded, made = rewritten(function, quantization.FOLDED)
    assert folded == 2
    x = tf.constant(np.random.default_rng(2).normal(0, 2, (5, 3)).astype(np.float32))
    np.testing.assert_allclose(made(x)[0], function(x)[0], atol=1e-5)


def test_in_a_loop_too() -> None:
    function = frozen(in_a_loop(lambda x: VARS(x, -1.0, 2.0)), [None, 3])
    written, made = rewritten(function, quantization.WRITTEN_OUT)
    assert written == 1
    x = tf.constant(np.random.default_rng(2).normal(0, 2, (50, 3)).astype(np.float32))
    with beside.without_optimizations():
        np.testing.assert_array_equal(made(x)[0], function(x)[0])


def test_weights_become_constants_whatever_becomes_of_activations() -> None:
    random = np.random.default_rng(3)
    weights, each = random.normal(size=(3, 3, 2, 4)).astype(np.float32), np.full(4, 0.7, np.float32)
    least = tf.Variable(-0.6)

    def network(x: Any) -> Any:
        kernel = PER_CHANNEL(VARS(ARGS(weights, -0.8, 0.8), least, 0.6, narrow_range=True), -each, each)
        return ARGS(tf.nn.conv2d(x, kernel, 1, "SAME"), -2.0, 2.0)

    function = frozen(network, [None, 8, 8, 2])
    folded, made = rewritten(function, quantization.FOLDED)
    assert folded == 3
    assert [kind for kind in operations(made) if kind in quantization.FAKE_QUANT] == ["FakeQuantWithMinMaxArgs"]
    x = random.normal(size=(2, 8, 8, 2)).astype(np.float32)
    np.testing.assert_allclose(made(tf.constant(x))[0], function(tf.constant(x))[0], atol=1e-6)
    assert len(quantization.of_activations(made.graph.as_graph_def())) == 1


def test_a_range_that_is_computed_is_left() -> None:
    function = frozen(lambda x: VARS(x, tf.reduce_min(x), tf.reduce_max(x)), [None, 4])
    assert stays(function.graph.as_graph_def(), quantization.WRITTEN_OUT)


def coarse(towards: float) -> Any:
    """A network whose values lie in the middle between two steps of a coarse range, but for a rounding."""
    middle = np.nextafter(np.float32(7.5), np.float32(towards))
    return frozen(lambda x: ARGS(x * 0.0 + middle, 0.0, 15.0, num_bits=4), [None, 4])


def test_graphs_that_fall_to_two_sides_of_a_step_differ_by_rounding_alone() -> None:
    one, other = (coarse(side) for side in (7.0, 8.0))
    question = {one.inputs[0].name: np.ones((2, 4), np.float32)}
    assert not np.array_equal(one(tf.ones((2, 4)))[0], other(tf.ones((2, 4)))[0])
    graphs = one.graph.as_graph_def(), other.graph.as_graph_def()
    verdict = beside.compare(*graphs, [one.outputs[0].name], [], [question])
    assert (verdict.questions, verdict.differs) == (1, None)


def test_a_rounding_that_one_graph_has_alone_is_compared() -> None:
    function = frozen(lambda x: ARGS(x, 0.0, 15.0, num_bits=4), [None, 4])
    graph = function.graph.as_graph_def()
    after = tf.compat.v1.GraphDef()
    after.CopyFrom(graph)
    for node in after.node:
        if node.op in quantization.FAKE_QUANT:
            become(node, "Identity", node.input[0])
            node.attr["T"].type = tf.float32.as_datatype_enum
    question = {function.inputs[0].name: np.full((2, 4), 0.7, np.float32)}
    verdict = beside.compare(graph, after, [function.outputs[0].name], [], [question])
    assert verdict.differs is not None
    assert "differs by 0.3" in verdict.differs


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
    converter = engines.new_converter(request_of(exported / "quantized", tmp_path, precision=precision))
    function = converter.convert()
    assert len([kind for kind in operations(function) if kind in quantization.FAKE_QUANT]) == kept
    (remark,) = converter.remarks
    assert told in remark
    assert all(one.questions > 0 for one in converter.rewritten), "both graphs were asked"


@pytest.mark.usefixtures("no_tensorrt")
def test_int8_with_data_keeps_the_ranges_that_the_graph_has(exported: Path, tmp_path: Path) -> None:
    """TF-TRT sets them for the tensors that they are of, whether there is a calibration or not."""
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data/a.npz", image=np.random.default_rng(8).normal(size=(4, 32, 32, 3)).astype(np.float32))
    given = CalibrationData(folder=str(tmp_path / "data"), samples=4, batch_size=2)
    request = request_of(exported / "quantized", tmp_path / "converted", precision="INT8", calibration=given)
    read: list[int] = []
    given_to_it = engines._calibration(request)
    assert given_to_it is not None

    def batches() -> Iterator[Batch]:
        for batch in given_to_it():
            read.append(len(batch["image"]))
            yield batch

    converter = engines.new_converter(request)
    function = converter.convert(batches)
    assert sum(read) == 4, "the data is asked as well"
    assert len([kind for kind in operations(function) if kind in quantization.FAKE_QUANT]) == 4
    (remark,) = converter.remarks
    assert "INT8 by 4 ranges that the graph has of its own, and by the calibration data where it has none." in remark


class Computed(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """Rounds activations by ranges that TF-TRT reads none of: what a batch has, and one for each channel."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])  # type: ignore[untyped-decorator]
    def __call__(self, x: Any) -> dict[str, Any]:
        weights = tf.constant(np.random.default_rng(3).normal(size=(4, 4)).astype(np.float32))
        y = VARS(x @ weights, tf.minimum(tf.reduce_min(x), -8.0), tf.maximum(tf.reduce_max(x), 8.0))
        return {"y": PER_CHANNEL(y @ weights, tf.constant([-20.0] * 4), tf.constant([20.0] * 4))}


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, module = tmp_path_factory.mktemp("computed") / "model", Computed()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.__call__})
    return folder


@pytest.mark.parametrize("precision", ["FP32", "FP16"])
@pytest.mark.usefixtures("no_tensorrt")
def test_a_rounding_whose_range_is_computed_is_left_to_tensorflow_and_that_is_said(
    computed: Path, tmp_path: Path, precision: str
) -> None:
    converter = engines.new_converter(request_of(computed, tmp_path / "converted", precision=precision))
    function = converter.convert()
    kept = [kind for kind in operations(function) if kind in quantization.FAKE_QUANT]
    assert kept == ["FakeQuantWithMinMaxVars"], "of each channel it is arithmetic"
    (remark,) = converter.remarks
    assert "1 of its 2 roundings of activations are computed as it has them, within engines" in remark
    assert remark.endswith("and the others by TensorFlow."), "there is none that INT8 would use"
    x = tf.constant(np.random.default_rng(2).normal(size=(3, 4)).astype(np.float32))
    expected = tf.saved_model.load(str(computed)).signatures["serving_default"](x=x)["y"]
    np.testing.assert_allclose(function(x=x)[0], expected, atol=40 / 255 * 1.01)  # a step, where a sum lies between


@pytest.mark.usefixtures("no_tensorrt")
def test_int8_by_ranges_that_are_computed_needs_data(computed: Path, tmp_path: Path) -> None:
    """They are none that TF-TRT reads: an engine would have no ranges at all."""
    converter = engines.new_converter(request_of(computed, tmp_path / "converted", precision="INT8"))
    with pytest.raises(CalibrationDataUnfit, match=r"none of its own that is a constant and of all channels"):
        converter.convert()


@pytest.mark.usefixtures("no_tensorrt")
def test_int8_without_data_and_without_ranges_is_refused(exported: Path, tmp_path: Path) -> None:
    converter = engines.new_converter(request_of(exported / "jitted", tmp_path, precision="INT8"))
    with pytest.raises(
        CalibrationDataUnfit, match=r"none of its own that is .*\(FakeQuant.*spec.conversion.calibration"
    ):
        converter.convert()
