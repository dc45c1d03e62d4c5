"""Texts of the form that a model takes, where not any words do: a picture's file, a `tf.train.Example`.

What exporters put in front of a network is told by its operations. Imports TensorFlow.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime.contract.artifact import Sample, Tensor
from tftrt_runtime.model import data
from tftrt_runtime.verification.comparisons import WHAT
from tftrt_runtime.verification.messages import ComparisonData

Texts = Mapping[str, tuple[str, ...]]  # by the input's name, in base64

# So many different ones, so that the items of a batch are not all alike.
MANY = 4
MOST_BYTES = 1 << 18  # of a user's, which go into the manifest
PICTURE_SIZES = (224, 299)

DECODE_PICTURES = {
    "DecodeJpeg", "DecodePng", "DecodeImage", "DecodeAndCropJpeg", "DecodeBmp", "DecodeGif", "ExtractJpegShape",
}  # fmt: skip
DECODE_BASE64 = "DecodeBase64"
PARSE = {"ParseExample", "ParseExampleV2", "ParseSingleExample"}


def of_data(inputs: Sequence[Tensor], given: ComparisonData, batched: bool = True) -> Sample:
    """A sample of the user's first few: their sizes, and their texts; not `batched`: each is a call.

    Raises:
        CalibrationDataUnfit: the data does not fit the inputs.
    """
    folder = Path(given.folder)
    first = list(data.batches(folder, inputs, 1, MANY, WHAT) if batched else data.calls(folder, inputs, MANY, WHAT))
    texts: dict[str, list[bytes]] = {tensor.name: [] for tensor in inputs if tensor.dtype == "BYTES"}
    size = 0
    for batch in first:
        found = {name: [bytes(text) for text in batch[name].ravel()] for name in texts}
        size += sum(len(text) for those in found.values() for text in those)
        if size > MOST_BYTES and any(texts.values()):
            break
        for name, those in found.items():
            texts[name] += those
    return Sample(
        shapes={name: values.shape[1:] if batched else values.shape for name, values in first[0].items()},
        batched=batched,
        texts={name: _encoded(those) for name, those in texts.items()},
    )


def made_up(function: Any, inputs: Iterable[Tensor]) -> Iterator[Texts]:
    """Texts for all inputs that are some, of each form that the signature's function may want."""
    names = [tensor.name for tensor in inputs if tensor.dtype == "BYTES"]
    if not names:
        return
    nodes = _nodes(function.graph.as_graph_def())
    operations = {node.op for node, _ in nodes}
    pictures: list[bytes] = []
    if operations & DECODE_PICTURES:
        for size in PICTURE_SIZES:
            pictures = [_picture(number, size) for number in range(MANY)]
            yield dict.fromkeys(names, _encoded(pictures))
            if DECODE_BASE64 in operations:
                in_base64 = [base64.urlsafe_b64encode(picture).rstrip(b"=") for picture in pictures]
                yield dict.fromkeys(names, _encoded(in_base64))
    for node, body in nodes:
        if node.op in PARSE:
            features = dict(_features(node, body))
            examples = [_example(features, number, pictures) for number in range(MANY)]
            yield dict.fromkeys(names, _encoded(examples))


def _encoded(texts: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(base64.b64encode(text).decode() for text in texts)


def _nodes(graph: Any) -> list[tuple[Any, dict[str, Any]]]:
    """Every node of a GraphDef and of its functions, each beside those of its own graph by their names."""
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    return [(node, by_name) for body in bodies for by_name in [{one.name: one for one in body}] for node in body]


def _picture(number: int, size: int) -> bytes:
    """A JPEG file of blurred noise, in colours."""
    noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3)).astype(np.float32)
    with tf.device("CPU:0"):
        smooth = tf.cast(tf.clip_by_value(tf.image.resize(noise, (size, size)), 0, 255), tf.uint8)
        return bytes(tf.io.encode_jpeg(smooth).numpy())


def _features(node: Any, body: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, int]]]:
    """What an operation parses of an Example: the type and the number of values of each feature, by its key."""
    attributes = node.attr
    if node.op == "ParseSingleExample":
        sparse, dense = attributes["sparse_keys"].list.s, attributes["dense_keys"].list.s
    elif node.op == "ParseExample":
        keys, number = node.input[2:], attributes["Nsparse"].i
        count = number + attributes["Ndense"].i
        sparse = [_constants(name, body)[0] for name in keys[:number]]
        dense = [_constants(name, body)[0] for name in keys[number:count]]
    else:
        sparse, dense = _constants(node.input[2], body), _constants(node.input[3], body)
        for key, kind in zip(_constants(node.input[4], body), attributes["ragged_value_types"].list.type):
            yield key.decode(), (kind, 1)
    for key, kind in zip(sparse, attributes["sparse_types"].list.type):
        yield key.decode(), (kind, 1)
    for key, kind, shape in zip(dense, attributes["Tdense"].list.type, attributes["dense_shapes"].list.shape):
        yield key.decode(), (kind, int(np.prod([max(size.size, 1) for size in shape.dim])))


def _constants(name: str, body: Mapping[str, Any]) -> Sequence[bytes]:
    """The texts of a constant of this graph."""
    node = body[name.partition(":")[0]]
    return [bytes(text) for text in tf.make_ndarray(node.attr["value"].tensor).ravel()]


def _example(features: Mapping[str, tuple[Any, int]], number: int, pictures: Sequence[bytes]) -> bytes:
    """An Example with all of these features; its texts are pictures where there are any."""
    random = np.random.default_rng(number)
    made = {}
    for key, (kind, count) in features.items():
        if kind == tf.string.as_datatype_enum:
            text = pictures[number] if pictures else f"sample {number}".encode()
            made[key] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[text] * count))
        elif kind == tf.float32.as_datatype_enum:
            made[key] = tf.train.Feature(float_list=tf.train.FloatList(value=random.random(count)))
        else:
            made[key] = tf.train.Feature(int64_list=tf.train.Int64List(value=random.integers(0, 2, count)))
    example = tf.train.Example(features=tf.train.Features(feature=made))
    return bytes(example.SerializeToString())
