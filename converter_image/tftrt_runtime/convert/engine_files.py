"""The files in which TF-TRT saves its engines: which batch sizes lie in them. Imports TensorFlow.

Each is a TFRecord file of messages with two fields: 1, the shape of each of the engine's inputs (TensorShapeProto), and
2, the serialized engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorflow.core.framework import tensor_shape_pb2

PREFIX = "trt-serialized-engine."


def batch_sizes(model: Path, engine: str) -> tuple[int, ...]:
    """The batch sizes, ascending, that the SavedModel in `model` holds this engine for; failed builds are not saved."""
    return tuple(sorted(size for size, _ in engines(model, engine)))


def engines(model: Path, engine: str) -> Iterator[tuple[int, bytes]]:
    """Each batch size with the engine for it, serialized; 0 for an engine that takes any."""
    file = model / "assets" / f"{PREFIX}{engine.rpartition('/')[2]}"
    if not file.exists():
        return
    kind = _engine_instance()
    with tf.device("CPU:0"):
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            instance = kind.FromString(record)
            if instance.serialized_engine:
                # A scalar has no batch; only engines for all shapes take any.
                sizes = instance.input_shapes[0].dim
                yield int(sizes[0].size) if sizes else 0, instance.serialized_engine


def _engine_instance() -> Any:
    """The message's class; TensorFlow's wheel has it in C++ alone."""
    name = "tftrt_engine_instance.proto"
    pool = descriptor_pool.Default()
    try:
        file = pool.FindFileByName(name)
    except KeyError:
        described = descriptor_pb2.FileDescriptorProto(
            name=name, package="tftrt_runtime", dependency=[tensor_shape_pb2.DESCRIPTOR.name], syntax="proto3"
        )
        message = described.message_type.add(name="EngineInstance")
        field = descriptor_pb2.FieldDescriptorProto
        message.field.add(
            name="input_shapes",
            number=1,
            type=field.TYPE_MESSAGE,
            type_name=".tensorflow.TensorShapeProto",
            label=field.LABEL_REPEATED,
        )
        message.field.add(name="serialized_engine", number=2, type=field.TYPE_BYTES, label=field.LABEL_OPTIONAL)
        pool.AddSerializedFile(described.SerializeToString())
        file = pool.FindFileByName(name)
    return message_factory.GetMessageClass(file.message_types_by_name["EngineInstance"])
