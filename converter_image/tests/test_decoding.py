# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""Loops that decode one file after the other stay with TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from tests.graphs import frozen, in_a_loop, stays
from tftrt_runtime.convert.rewrites import decoding


def graph_of(folder: Path) -> Any:
    loaded = tf.saved_model.load(str(folder))
    function = loaded.signatures["serving_default"]
    return convert_to_constants.convert_variables_to_constants_v2(
        function, lower_control_flow=True
    ).graph.as_graph_def()


def test_the_scaling_of_each_picture_is_beside_its_decoding_and_the_network_behind_is_not(exported: Path) -> None:
    graph = graph_of(exported / "pictures")
    assert decoding.LEFT.apply(graph) > 0
    there = {node.op for node in graph.node if node.device == decoding.CPU}
    assert there >= {"DecodeJpeg", "ResizeBilinear"}
    assert "Conv2D" not in there
    assert stays(graph, decoding.LEFT)


def test_a_network_in_the_loop_is_not_kept_from_the_gpu_with_what_is_behind_it() -> None:
    kernel = np.ones((3, 3, 3, 4), np.float32)

    def each(row: Any) -> Any:
        picture = tf.reshape(tf.io.parse_tensor(tf.io.serialize_tensor(row), tf.float32), [1, 8, 8, 3])
        scaled = tf.raw_ops.ResizeBilinear(images=picture, size=[12, 12])
        return tf.nn.relu(tf.nn.conv2d(scaled, kernel, 1, "SAME"))

    graph = frozen(lambda x: tf.map_fn(each, x), [None, 192]).graph.as_graph_def()
    assert decoding.LEFT.apply(graph) > 0
    there = {node.op for node in graph.node if node.device == decoding.CPU}
    assert there >= {"ParseTensor", "ResizeBilinear"}
    assert not there & {"Conv2D", "Relu"}


def test_a_loop_that_decodes_nothing_stays() -> None:
    function = frozen(in_a_loop(lambda x: tf.nn.relu(x) * 2.0), [None, 4])
    assert stays(function.graph.as_graph_def(), decoding.LEFT)
