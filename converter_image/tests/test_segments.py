"""What is told of the parts of a graph that TensorRT did not take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from tftrt_runtime.convert import segments

REPORT = """\
OP Name;Reason;Count
StringUpper;Excluded by segmenter option, of type string;1
Bucketize;Op type Bucketize is not supported.;1
MatMul;Excluded by segmenter;0
"""


def graph(*nodes: tuple[str, str, list[str]]) -> Any:
    """A GraphDef of nodes, each a name, an operation and inputs."""
    made = tf.compat.v1.GraphDef()
    for name, operation, inputs in nodes:
        node = made.node.add(name=name, op=operation, input=inputs)
        if operation == segments.ENGINE:
            node.attr["segment_func"].func.name = f"{name}_native_segment"
    return made


@pytest.fixture
def mixed() -> Any:
    """A-B-C: texts, an engine with five operations, buckets; and a lonely addition."""
    made = graph(
        ("words", "Placeholder", []),
        ("upper", "StringUpper", ["words"]),
        ("length", "StringLength", ["upper"]),
        ("engine", segments.ENGINE, ["length"]),
        ("bucket", "Bucketize", ["engine:0"]),
        ("lonely", "AddV2", ["words"]),
    )
    body = made.library.function.add()
    body.signature.name = "engine_native_segment"
    for number in range(5):
        body.node_def.add(name=f"inner{number}", op="MatMul")
    return made


@pytest.fixture
def why(tmp_path: Path) -> segments.Reasons:
    file = tmp_path / "report.csv"
    file.write_text(REPORT)
    return segments.reasons(file)


def test_tf_trts_table_of_reasons_is_read_and_what_never_happened_left_out(why: segments.Reasons) -> None:
    assert why == {
        "StringUpper": ("Excluded by segmenter option, of type string",),
        "Bucketize": ("Op type Bucketize is not supported.",),
    }


def test_only_what_lies_in_engines_counts_as_converted(mixed: Any) -> None:
    assert [engine.name for engine in segments.engines(mixed)] == ["engine"]
    assert segments.operations(mixed) == (5, 10)


def test_each_part_left_names_the_operation_that_kept_it(mixed: Any, why: segments.Reasons) -> None:
    left = segments.left_to_tensorflow(mixed, why)
    told = {part.first: (part.operations, [blocker.operation for blocker in part.blockers]) for part in left}
    assert told == {"upper": (2, ["StringUpper"]), "bucket": (1, ["Bucketize"]), "lonely": (1, [])}
    assert left[0].first == "upper"  # the largest comes first
