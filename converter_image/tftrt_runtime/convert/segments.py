"""What a converted graph tells of its conversion: engines, and the parts left to TensorFlow. Reads GraphDefs only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tftrt_runtime.contract.artifact import Blocker, Segment

ENGINE = "TRTEngineOp"

# These hold or pass on tensors and compute nothing.
PASSIVE = {"Const", "Placeholder", "Identity", "NoOp"}

# A report is for people: of the parts left to TensorFlow the largest ones.
MAX_SEGMENTS = 50

Reasons = Mapping[str, tuple[str, ...]]  # by the operation's type


def engines(graph: Any) -> list[Any]:
    """The nodes that are engines, those in functions (the branches of a condition, say) as well."""
    return [node for nodes in _bodies(graph) for node in nodes if node.op == ENGINE]


def operations(graph: Any) -> tuple[int, int]:
    """How many operations lie in engines, and how many there are in all, as TF-TRT's own summary counts them."""
    native = {node.attr["segment_func"].func.name for node in engines(graph)}
    converted = sum(len(body.node_def) for body in graph.library.function if body.signature.name in native)
    left = sum(1 for node in graph.node if node.op != ENGINE)
    left += sum(
        1
        for body in graph.library.function
        if body.signature.name not in native
        for node in body.node_def
        if node.op != ENGINE
    )
    return converted, converted + left


def reasons(report: Path) -> dict[str, tuple[str, ...]]:
    """TF-TRT's report of operations that it did not convert: a table of operation, reason and count."""
    if not report.exists():
        return {}
    header, *lines = report.read_text(errors="replace").splitlines() or [""]
    separator = header.removeprefix("OP Name").partition("Reason")[0]
    found: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        name, _, rest = line.partition(separator)
        reason, _, count = rest.rpartition(separator)
        if reason and count.strip() != "0":
            found[name].append(reason)
    return {name: tuple(given) for name, given in found.items()}


def left_to_tensorflow(graph: Any, why: Reasons) -> tuple[Segment, ...]:
    """The connected parts of the graph outside of engines, the largest first, with what blocked each."""
    native = {node.attr["segment_func"].func.name for node in engines(graph)}
    found = _parts(graph.node)
    for body in graph.library.function:
        if body.signature.name not in native:
            found += _parts(body.node_def)
    made = [
        Segment(
            operations=len(nodes),
            first=nodes[0].name,
            blockers=tuple(
                Blocker(operation=operation, reason=reason)
                for operation in sorted({node.op for node in nodes})
                for reason in why.get(operation, ())
            ),
        )
        for nodes in found
    ]
    return tuple(sorted(made, key=lambda segment: -segment.operations)[:MAX_SEGMENTS])


def _bodies(graph: Any) -> list[Iterable[Any]]:
    """The graph's nodes and each of its functions', but for the copies of what lies in engines."""
    return [graph.node, *(body.node_def for body in graph.library.function)]


def _parts(nodes: Iterable[Any]) -> list[list[Any]]:
    """The connected parts, in the order of their first nodes, of what computes and is no engine."""
    active = {node.name: node for node in nodes if node.op not in PASSIVE and node.op != ENGINE}
    neighbours: dict[str, set[str]] = defaultdict(set)
    for node in active.values():
        for source in (text.lstrip("^").partition(":")[0] for text in node.input):
            if source in active:
                neighbours[node.name].add(source)
                neighbours[source].add(node.name)
    parts: list[list[Any]] = []
    seen: set[str] = set()
    for name in active:
        if name in seen:
            continue
        waiting, part = [name], []
        seen.add(name)
        while waiting:
            current = waiting.pop()
            part.append(active[current])
            fresh = neighbours[current] - seen
            seen |= fresh
            waiting.extend(sorted(fresh))
        parts.append(part)
    return parts
