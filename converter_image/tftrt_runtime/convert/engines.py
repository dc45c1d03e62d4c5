"""A child process that converts with TensorRT and builds engines: one for each batch size, or one for all shapes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.compiler.tensorrt import trt_convert

from tftrt_runtime import log
from tftrt_runtime.contract.errors import NothingConvertible
from tftrt_runtime.convert import ranges as no_ranges
from tftrt_runtime.convert import rewrites, segments, without_xla
from tftrt_runtime.convert.messages import EnginesAnswer, EnginesRequest
from tftrt_runtime.convert.rewrites import beside, quantization
from tftrt_runtime.loading import freeze
from tftrt_runtime.model import data, samples
from tftrt_runtime.processes import child
from tftrt_runtime.report.data import Rewritten

REPORT = "TF_TRT_SHOW_DETAILED_REPORT"  # a path: TF-TRT writes there which operations it did not take, and why
TOLD_REASONS = 5
FIRST_GPU = "GPU:0"

Batches = Callable[[], Iterator[samples.Batch]]


def convert(request: EnginesRequest) -> EnginesAnswer:
    """Write the converted SavedModel with its engines.

    Raises:
        NothingConvertible: no engine came of it; the reasons are told.
        CalibrationDataUnfit: the calibration data does not fit the model, or there is none, and no ranges either.
    """
    with tempfile.TemporaryDirectory(prefix="plain-") as folder:
        source = without_xla.plain(Path(request.source), Path(folder))
        return _converted(request.model_copy(update={"source": str(source)}))


def _converted(request: EnginesRequest) -> EnginesAnswer:
    converter = new_converter(request)
    with tempfile.TemporaryDirectory(prefix="tftrt-report-") as folder:
        report = Path(folder, "report.csv")
        os.environ[REPORT] = str(report)
        with log.timed("convert", "Converted the graph", precision=request.precision):
            graph = converter.convert(_calibration(request)).graph.as_graph_def()
        why = segments.reasons(report)
    engines = segments.engines(graph)
    if not engines:
        raise NothingConvertible(_nothing(why, request.minimum_segment_size))
    if request.calibration and request.calibrated is None:
        _drop_calibration_engines(converter)
    converter.build(input_fn=lambda: shapes_to_build(request))
    if request.calibration:
        _expect_calibrated(converter)
    save(converter, request)
    converted_ops, total_ops = segments.operations(graph)
    return EnginesAnswer(
        engines=len(engines),
        converted_ops=converted_ops,
        total_ops=total_ops,
        segments=segments.left_to_tensorflow(graph, why),
        rewrites=converter.rewritten,
        remarks=converter.remarks,
    )


class Converter(trt_convert.TrtGraphConverterV2):  # type: ignore[misc]  # TensorFlow has no types
    """TF-TRT's converter, with what it lacks done to the frozen graph before it looks for segments."""

    def __init__(self, request: EnginesRequest, **options: Any) -> None:
        super().__init__(
            input_saved_model_dir=request.source,
            input_saved_model_signature_key=request.signature,
            precision_mode=request.precision,
            **options,
        )
        self._request = request
        self.rewritten: tuple[Rewritten, ...] = ()
        self.remarks: tuple[str, ...] = ()  # what a person should know of it

    def _run_conversion(self, meta_graph_def: Any) -> Any:
        # TF-TRT tells Grappler there what is fed and fetched.
        fetched = list(meta_graph_def.collection_def["train_op"].node_list.value)
        graph, request = meta_graph_def.graph_def, self._request
        rounded, ranges = len(quantization.of_activations(graph)), len(quantization.with_ranges(graph))
        _expect_ranges(ranges, request)
        with log.timed("convert", "Rewrote the graph for TF-TRT"):
            self.rewritten = rewrites.apply(graph, fetched, self._questions, request.precision)
        left = len(quantization.of_activations(graph))
        self.remarks = tuple(_on_quantization(rounded, left, ranges, request))
        return super()._run_conversion(meta_graph_def)

    def _questions(self) -> list[beside.Question]:
        """What the frozen graph is asked: made-up input, and the tables beside it, which keep their names in it.

        So do variables, but as the constants that they have become.
        """
        function = self._saved_model.signatures[self._input_saved_model_signature_key]
        names = [tensor.name for tensor in function.inputs]
        # The signature's inputs come first, in the order of their sorted names.
        by_input = dict(zip(sorted(function.structured_input_signature[1]), names, strict=False))
        return beside.made_up(self._request.inputs, self._request.samples, by_input, freeze.resources(function))


def _expect_ranges(ranges: int, request: EnginesRequest) -> None:
    """Hold that INT8 has ranges of the model's numbers: by calibration, or the graph's own, of which there are so many.

    Raises:
        CalibrationDataUnfit: neither data nor the graph gives any.
    """
    if request.precision == "INT8" and request.calibration is None and not ranges:
        raise no_ranges.none()


def _on_quantization(rounded: int, left: int, ranges: int, request: EnginesRequest) -> Iterator[str]:
    """What to know of a graph from training with quantization.

    It had so many activations `rounded`, of which so many are `left` as they were, and so many `ranges` for INT8.
    """
    if not rounded:
        return
    if request.precision != "INT8":
        by_itself = " In INT8 its ranges are used, without calibration data." if ranges else ""
        yield (
            f"The model was trained with quantization: {rounded - left} of its {rounded} roundings of activations are "
            f"computed as it has them, within engines, and the others by TensorFlow.{by_itself}"
        )
        return
    # TF-TRT sets them whether there is a calibration or not, and TensorRT measures none where one is set.
    data = (
        "without calibration data" if request.calibration is None else "and by the calibration data where it has none"
    )
    others = f" The other {rounded - ranges} are computed by TensorFlow." if rounded > ranges else ""
    if ranges:
        yield f"INT8 by {ranges} ranges that the graph has of its own, {data}.{others}"
    else:
        yield (
            f"INT8 by the calibration data: the graph rounds {rounded} activations by ranges that it computes or that "
            "each channel has of its own, which TensorRT takes none of. TensorFlow computes those."
        )


def new_converter(request: EnginesRequest) -> Any:
    """TF-TRT's converter, with all that the request says."""
    converter = Converter(
        request,
        use_dynamic_shape=request.dynamic_shapes is not None,
        dynamic_shape_profile_strategy=request.dynamic_shapes,
        max_workspace_size_bytes=request.max_workspace_size_bytes,
        minimum_segment_size=request.minimum_segment_size,
        # One more shape than this, and the oldest engine is thrown away. One engine holds all profiles.
        maximum_cached_engines=len(request.batch_sizes) if request.dynamic_shapes is None else 1,
        use_calibration=request.calibration is not None,
    )
    # The converter's own freezing makes inputs of tables, and then calls the model without them. Its other way, without
    # freezing, leaves captures what they are; the constructor refuses it under implicit batch because of variables,
    # of which a frozen source has none.
    converter.freeze = not request.frozen
    return converter


def save(converter: Any, request: EnginesRequest) -> None:
    """Write the converted SavedModel."""
    _make_servable(converter)
    if request.frozen:
        # Without freezing the converter saves the loaded model too, whose functions hold all weights once more.
        root = tf.Module()
        root.tables = list(converter._saved_model.tables)
        converter._saved_model = root
    with log.timed("convert", "Saved the converted model"):
        converter.save(request.target)


def shapes_to_build(request: EnginesRequest) -> Iterator[samples.Batch]:
    """Made-up input of every shape that an engine or a profile is built for.

    Batch sizes ascend, for under implicit batch a request takes the smallest engine that is large enough: after a
    larger one none is built. A range begins with a single item, for nothing pads a smaller batch up to it.
    """
    sizes = set(request.batch_sizes)
    if request.batched and request.dynamic_shapes and "Range" in request.dynamic_shapes:
        sizes.add(1)
    done = "Built engines" if request.dynamic_shapes is None else "Collected shapes"
    for size in sorted(sizes):
        for sample in request.samples:
            with log.timed("convert", done, batch_size=size, shapes=sample.shapes):
                yield samples.batch(request.inputs, size, sample)


def _calibration(request: EnginesRequest) -> Batches | None:
    """The function that TF-TRT reads calibration batches from."""
    calibration = request.calibration
    if calibration is None:
        return None

    def read() -> Iterator[samples.Batch]:
        with log.timed("convert", "Calibrated", samples=calibration.samples, batch_size=calibration.batch_size):
            folder = Path(calibration.folder)
            if request.batched:
                yield from data.batches(folder, request.inputs, calibration.batch_size, calibration.samples)
            else:
                yield from data.calls(folder, request.inputs, calibration.samples)

    return read


def _drop_calibration_engines(converter: Any) -> None:
    """Throw away the engines that calibration leaves in the cache, where its batch size is not the smallest asked for.

    The ranges that it measured stay in the graph, and the engines that are built next use them.
    """
    _expect_calibrated(converter)
    with tempfile.TemporaryDirectory(prefix="tftrt-engines-") as folder:
        for name in {engine.name.rpartition("/")[2] for engine in segments.engines(converter._converted_graph_def)}:
            trt_convert.gen_trt_ops.serialize_trt_resource(
                resource_name=name,
                filename=str(Path(folder, name)),
                delete_resource=True,
                save_gpu_specific_engines=False,
            )


def _expect_calibrated(converter: Any) -> None:
    """Hold that each engine has its ranges: TF-TRT only warns, and would calibrate on what it is asked next.

    Raises:
        NothingConvertible: one has none.
    """
    for engine in segments.engines(converter._converted_graph_def):
        if not engine.attr["calibration_data"].s:
            raise NothingConvertible(
                f"INT8 calibration measured no ranges for the engine {engine.name}: no sample reached that part of the "
                "model, or TensorRT could not calibrate it. Give samples that use all of the model, or set "
                "spec.conversion.precision to FP16."
            )


def _make_servable(converter: Any) -> None:
    """Have no server build an engine when a request comes, and have it run on the device that it is called on.

    The converter's own `allow_build_at_runtime=False` does the first, too, and loses the names of the outputs on the
    way. Grappler writes the device that it optimized for, the first, into every operation.
    """
    graph = converter._converted_graph_def
    for engine in segments.engines(graph):
        engine.attr["_allow_build_at_runtime"].b = False
    for node in (*graph.node, *(node for function in graph.library.function for node in function.node_def)):
        if node.device.endswith(FIRST_GPU):
            node.device = ""
    converter._converted_func = trt_convert._construct_function_from_graph_def(
        converter._converted_func, converter._converted_graph_def
    )


def _nothing(why: segments.Reasons, minimum_segment_size: int) -> str:
    told = [f"{name} ({given[0]})" for name, given in sorted(why.items()) if name not in segments.PASSIVE]
    reasons = f"not taken: {', '.join(told[:TOLD_REASONS])}" if told else "every operation is of a kind that it takes"
    more = f" and {len(told) - TOLD_REASONS} other kinds" if len(told) > TOLD_REASONS else ""
    return (
        f"TensorRT takes no part of this model with at least {minimum_segment_size} operations in a row; "
        f"{reasons}{more}. Lower spec.conversion.minimumSegmentSize, or serve the model as it is with a runtime "
        "that needs no GPU."
    )


if __name__ == "__main__":
    child.answer(EnginesRequest, convert)
