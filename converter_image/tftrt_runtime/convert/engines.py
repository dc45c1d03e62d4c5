"""A child process that converts with TensorRT and builds an engine for every batch size."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorflow.python.compiler.tensorrt import trt_convert

from tftrt_runtime import child, log, samples
from tftrt_runtime.convert import segments
from tftrt_runtime.convert.messages import EnginesAnswer, EnginesRequest
from tftrt_runtime.errors import NothingConvertible

REPORT = "TF_TRT_SHOW_DETAILED_REPORT"  # a path: TF-TRT writes there which operations it did not take, and why
TOLD_REASONS = 5


def convert(request: EnginesRequest) -> EnginesAnswer:
    """Write the converted SavedModel with its engines.

    Raises:
        NothingConvertible: no engine came of it; the reasons are told.
    """
    converter = trt_convert.TrtGraphConverterV2(
        input_saved_model_dir=request.source,
        input_saved_model_signature_key=request.signature,
        precision_mode=request.precision,
        max_workspace_size_bytes=request.max_workspace_size_bytes,
        minimum_segment_size=request.minimum_segment_size,
        # One more shape than this, and the oldest engine is thrown away.
        maximum_cached_engines=len(request.batch_sizes),
        use_calibration=False,
    )
    with tempfile.TemporaryDirectory(prefix="tftrt-report-") as folder:
        report = Path(folder, "report.csv")
        os.environ[REPORT] = str(report)
        with log.timed("convert", "Converted the graph", precision=request.precision):
            graph = converter.convert().graph.as_graph_def()
        why = segments.reasons(report)
    engines = segments.engines(graph)
    if not engines:
        raise NothingConvertible(_nothing(why, request.minimum_segment_size))

    def batches() -> Iterator[samples.Batch]:
        # Ascending, for a request takes the smallest engine that is large enough: after a larger one none is built.
        for size in sorted(request.batch_sizes):
            with log.timed("convert", "Built engines", batch_size=size):
                yield samples.batch(request.inputs, size, request.sample)

    converter.build(input_fn=batches)
    _forbid_builds(converter)
    with log.timed("convert", "Saved the converted model"):
        converter.save(request.target)
    converted_ops, total_ops = segments.operations(graph)
    return EnginesAnswer(
        engines=len(engines),
        converted_ops=converted_ops,
        total_ops=total_ops,
        segments=segments.left_to_tensorflow(graph, why),
    )


def _forbid_builds(converter: Any) -> None:
    """Have no server build an engine when a request comes.

    The converter's own `allow_build_at_runtime=False` does this too, and loses the names of the outputs on the way.
    """
    for engine in segments.engines(converter._converted_graph_def):
        engine.attr["_allow_build_at_runtime"].b = False
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
