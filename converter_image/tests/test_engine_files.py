"""Engines in the files that TF-TRT saves: a TFRecord of messages with input shapes and bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_shape_pb2

from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.contract.errors import NothingConvertible
from tftrt_runtime.convert import engine_files
from tftrt_runtime.verification import check
from tftrt_runtime.verification.messages import CheckRequest


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protobuf message, as it lies in the file."""
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def save(model: Path, *engines: tuple[list[int], bytes]) -> None:
    """Write engines, each the shape of its first input and its bytes, as TF-TRT does."""
    (model / "assets").mkdir(parents=True)
    with tf.io.TFRecordWriter(str(model / "assets/trt-serialized-engine.TRTEngineOp_000_000")) as writer:
        for shape, content in engines:
            dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape]
            text = tensor_shape_pb2.TensorShapeProto(dim=dims).SerializeToString()
            writer.write(field(1, text) + field(1, text) + (field(2, content) if content else b""))


def expect(model: Path, batch_sizes: tuple[int, ...], dynamic: bool = False) -> None:
    graph = tf.compat.v1.GraphDef()
    graph.node.add(name="scope/TRTEngineOp_000_000", op="TRTEngineOp")
    request = CheckRequest(
        model=str(model),
        signature="s",
        references="r",
        compared=0,
        data=None,
        events="e",
        inputs=(Tensor(name="x", dtype="FP32", shape=(-1, 3)),),
        outputs=(),
        batch_sizes=batch_sizes,
        samples=(),
        exact=False,
        engines=True,
        dynamic=dynamic,
    )
    check._expect_engines(request, graph)


def test_the_batch_sizes_are_those_of_the_engines_that_were_built(tmp_path: Path) -> None:
    save(tmp_path, ([8, 3], b"engine"), ([1, 3], b"engine"), ([4, 3], b""))
    assert engine_files.batch_sizes(tmp_path, "scope/TRTEngineOp_000_000") == (1, 8)
    assert engine_files.batch_sizes(tmp_path, "TRTEngineOp_000_001") == ()


def test_engines_for_other_batch_sizes_are_no_success(tmp_path: Path) -> None:
    save(tmp_path, ([8, 3], b"engine"), ([1, 3], b"engine"))
    expect(tmp_path, (1, 8))
    with pytest.raises(NothingConvertible, match=r"batch sizes \[1, 8\] instead of \[1, 4, 8\]"):
        expect(tmp_path, (1, 4, 8))


def test_a_range_of_shapes_is_one_engine_whatever_it_was_built_with(tmp_path: Path) -> None:
    save(tmp_path, ([], b"engine"))
    expect(tmp_path, (1, 8), dynamic=True)


def test_a_range_of_shapes_without_an_engine_is_no_success(tmp_path: Path) -> None:
    save(tmp_path, ([1, 3], b""))
    with pytest.raises(NothingConvertible, match="saved 0 times instead of once"):
        expect(tmp_path, (1, 8), dynamic=True)
