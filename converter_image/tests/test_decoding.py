# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""Loops that decode one file after the other stay with TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


def test_a_loop_that_decodes_nothing_stays() -> None:
    function = frozen(in_a_loop(lambda x: tf.nn.relu(x) * 2.0), [None, 4])
    assert stays(function.graph.as_graph_def(), decoding.LEFT)
