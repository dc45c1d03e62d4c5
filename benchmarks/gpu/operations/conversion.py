"""Converts a graph as the product does: by its converter, with its rewrites and its words for what is left.

`minimum_segment_size` is 1 here, and 3 in the product unless a model says otherwise: a graph of one operation has no
three in a row. Whether TF-TRT takes an operation is decided by the operation, its types and its shapes, and by nothing
beside it; so it stands alone, and what is told is told of it. In a model its neighbours may be fused with it.

Fixed shapes are what the product makes without `spec.conversion.dynamicShapes`: the batch is open, and an engine is
built for one size of it (implicit batch). Dynamic ones are `Range`: one engine for batches of 1 to 4, and for sizes
from half of what is asked where a model may leave them open. Imports TensorFlow.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.compiler.tensorrt import trt_convert
from tftrt_runtime.convert import engines, segments
from tftrt_runtime.convert.layer_log import LayerLog
from tftrt_runtime.convert.messages import EnginesRequest

from benchmarks.gpu.operations.network import BATCH, SIGNATURE, Network
from benchmarks.gpu.operations.operation import Array

MINIMUM_SEGMENT_SIZE = 1
WORKSPACE_BYTES = 1 << 30
NO_WORK = "Reformat"  # layers that change the type or the layout alone


@dataclasses.dataclass(frozen=True)
class Converted:
    """What TF-TRT made of a graph, and what it answers.

    `kept` are the operations that TensorFlow runs, each with TF-TRT's reasons, of which there may be none. `layers` has
    for each type that TensorRT computes in how many of its layers do; it chooses by time, and may take FP32 in FP16.
    """

    engines: int
    in_engines: int
    operations: int
    kept: dict[str, tuple[str, ...]]
    layers: dict[str, int]
    build_seconds: float
    answers: dict[str, Array] | None  # None where an engine could not be built or run
    failure: str | None


def convert(network: Network, source: Path, precision: str, report: Path, log: Path) -> Converted:
    """Convert the SavedModel in `source`, build its engines and ask it.

    TF-TRT writes `report`, as the environment told it when TensorFlow was imported; `log` is what this process writes
    to standard error.
    """
    report.unlink(missing_ok=True)
    request = _request(network, source, precision)
    converter = engines.new_converter(request)
    before, started = log.stat().st_size, time.monotonic()
    graph = converter.convert().graph.as_graph_def()
    found = segments.engines(graph)
    why = segments.reasons(report)
    answers: dict[str, Array] | None = None
    failure = None
    try:
        if found:
            converter.build(input_fn=lambda: engines.shapes_to_build(request))
        build_seconds = time.monotonic() - started
        answers = ask(converter._converted_func, network.asked())
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        build_seconds = time.monotonic() - started
        failure = f"{type(error).__name__}: {error}"
    finally:
        _forget(found)
    told = _told(log, before)
    in_engines, operations = segments.operations(graph)
    return Converted(
        engines=len(found),
        in_engines=in_engines,
        operations=operations,
        kept=_kept(graph, why),
        layers=_layers(told),
        build_seconds=round(build_seconds, 2),
        answers=answers,
        failure=None if failure is None else _words(failure, told),
    )


def ask(function: Any, asked: Mapping[str, Array]) -> dict[str, Array]:
    """What a signature's function answers, by name; TF-TRT's converted one gives a list in the order of the names."""
    answers = function(**{name: tf.constant(values) for name, values in asked.items()})
    if not isinstance(answers, Mapping):
        answers = dict(zip(sorted(function.structured_outputs), answers, strict=True))
    return {name: np.asarray(answer.numpy()) for name, answer in answers.items()}


@contextmanager
def without_tensorrt() -> Iterator[None]:
    """Have the product's converter believe in a GPU and rewrite, and leave out what only TensorRT can do."""

    class OnGPU:
        device = "/job:localhost/replica:0/task:0/device:GPU:0"

    class ArrayOps:
        zeros = staticmethod(lambda _shape: OnGPU)

    theirs = trt_convert.TrtGraphConverterV2
    before = trt_convert._check_trt_version_compatibility, trt_convert.array_ops, theirs._run_conversion
    trt_convert._check_trt_version_compatibility = lambda: None
    trt_convert.array_ops = ArrayOps
    theirs._run_conversion = lambda _converter, meta_graph: meta_graph.graph_def
    try:
        yield
    finally:
        trt_convert._check_trt_version_compatibility, trt_convert.array_ops, theirs._run_conversion = before


def _request(network: Network, source: Path, precision: str) -> EnginesRequest:
    return EnginesRequest(
        source=str(source),
        signature=SIGNATURE,
        target="",
        frozen=False,
        inputs=network.tensors(),
        samples=network.samples(),
        precision=precision,
        max_workspace_size_bytes=WORKSPACE_BYTES,
        minimum_segment_size=MINIMUM_SEGMENT_SIZE,
        batch_sizes=(BATCH,),
        dynamic_shapes="Range" if network.dynamic else None,
        calibration=None,
    )


def _told(log: Path, since: int) -> list[str]:
    """The lines of the log behind so many bytes."""
    with log.open("rb") as file:
        file.seek(since)
        return file.read().decode(errors="replace").splitlines()


def _kept(graph: Any, why: segments.Reasons) -> dict[str, tuple[str, ...]]:
    """The operations that lie in no engine, and are run: a library has functions, too, that nothing calls any more."""
    bodies = {body.signature.name: body.node_def for body in graph.library.function}
    found: set[str] = set()
    waiting: list[Iterable[Any]] = [graph.node]
    seen: set[str] = set()
    while waiting:
        for node in waiting.pop():
            if node.op == segments.ENGINE:
                continue
            if node.op not in bodies:
                found.add(node.op)
            called = {node.op} & bodies.keys()
            for attribute in node.attr.values():
                called |= {one.name for one in (attribute.func, *attribute.list.func)} & bodies.keys()
            waiting += [bodies[name] for name in called - seen]
            seen |= called
    return {operation: why.get(operation, ()) for operation in sorted(found - {*segments.PASSIVE})}


def _layers(told: Iterable[str]) -> dict[str, int]:
    seen = LayerLog()
    for line in told:
        seen.see(line)
    counted = Counter(
        layer.precision for engine in seen.engines for layer in engine.layers if not layer.kind.startswith(NO_WORK)
    )
    return dict(sorted(counted.items()))


def _words(failure: str, told: Sequence[str]) -> str:
    """The failure, and the last that TensorRT and TF-TRT said of it."""
    lines = [
        line.partition("] ")[2]
        for line in told
        if ("trt_logger" in line and ": E " in line) or ("trt_engine_op" in line and ": W " in line)
    ]
    return " | ".join([failure.splitlines()[0], *lines[-3:]])[:1500]


def _forget(found: Iterable[Any]) -> None:
    """Throw the engines away, which lie in TensorFlow's own cache until the process ends."""
    with tempfile.TemporaryDirectory() as folder:
        for name in {engine.name.rpartition("/")[2] for engine in found}:
            with suppress(tf.errors.NotFoundError):  # none was built
                trt_convert.gen_trt_ops.serialize_trt_resource(
                    resource_name=name,
                    filename=str(Path(folder, name)),
                    delete_resource=True,
                    save_gpu_specific_engines=False,
                )
