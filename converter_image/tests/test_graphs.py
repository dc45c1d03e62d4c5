from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.box import Box
from tftrt_runtime.report import data, graphs


def concrete(function: Callable[..., Any], *shapes: list[int | None]) -> Any:
    return tf.function(function).get_concrete_function(*[tf.TensorSpec(shape, tf.float32) for shape in shapes])


def edges(graph: data.Graph) -> set[tuple[str, str]]:
    return {(graph.nodes[number].op, node.op) for node in graph.nodes for number in node.inputs}


def test_calls_are_replaced_by_what_they_call(tmp_path: Path) -> None:
    @tf.function  # type: ignore[untyped-decorator]
    def inner(x: Any, y: Any) -> Any:
        return tf.nn.relu(x), tf.exp(y)

    @tf.function  # type: ignore[untyped-decorator]
    def outer(x: Any, y: Any) -> Any:
        return inner(y, x)

    def swapped(x: Any, y: Any) -> Any:
        exp_of_x, relu_of_y = outer(tf.sin(x), tf.cos(y))[::-1]
        return tf.tanh(exp_of_x), tf.sqrt(relu_of_y)

    found = graphs.show(concrete(swapped, [None], [None]), tmp_path)
    assert {("Sin", "Exp"), ("Exp", "Tanh"), ("Cos", "Relu"), ("Relu", "Sqrt")} <= edges(found)
    assert not [node for node in found.nodes if "Call" in node.op]


def test_weights_are_neither_drawn_nor_written(tmp_path: Path) -> None:
    weights = tf.Variable(tf.ones([500, 500]))
    constant = tf.constant(range(250_000), tf.float32, [500, 500])
    found = graphs.show(concrete(lambda x: tf.matmul(x @ weights, constant), [None, 500]), tmp_path)
    assert Counter(node.op for node in found.nodes) == {"Placeholder": 1, "MatMul": 2, "Identity": 1}
    assert found.operations > len(found.nodes)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 10_000


@pytest.mark.parametrize(("name", "least"), [("resnet50", 200), ("two", 5)])
def test_tensorboard_reads_the_graph_before_and_after(converted: Callable[..., Box], name: str, least: int) -> None:
    build = converted(name).published
    findings = data.read(build / data.FILE).findings
    for when, graph in {"before": findings.before, "after": findings.after}.items():
        assert len(graph.nodes) >= least
        events = EventAccumulator(str(build / data.TENSORBOARD / when))
        events.Reload()
        read = {node.name for node in events.Graph().node}
        assert len(read) == graph.operations
        assert {node.name for node in graph.nodes} <= read


def test_event_files_are_published_with_the_artifact(converted: Callable[..., Box]) -> None:
    paths = [file["path"] for file in converted("two").manifest["files"]]
    for when in ("before", "after"):
        assert [path for path in paths if path.startswith(f"tensorboard/{when}/events.out.tfevents.")]
