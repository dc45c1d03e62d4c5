"""Writes normalizations that a network spells out so that FP16 can hold their squares. Imports TensorFlow.

BERT (`tf.nn.moments` and `tf.nn.batch_normalization`, with an epsilon of 1e-12), Keras 2 with a small epsilon, Keras 3
and what comes from ONNX compute a layer normalization from elementary operations. TensorRT takes them, and computes the
squares in FP16: from values of 256 on they are infinite, and the row becomes 0. Here such a row is divided by its
largest value first (`scaled_rows.py`).

What is looked for is r = 1 / sqrt(mean(c ** 2) + epsilon), whatever c is, and what it is used for: c * r, or with c =
x - y as x * r - y * r, with the gain in r and the offset in the second product. Whether y is the mean of x makes no
difference, so instance normalization and the one by the root of the mean square are found as well. Only what comes out
at the end is made in another way; all between stays, and is computed as long as somebody reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tftrt_runtime.convert.rewrites.graph_defs import Graph, attribute, become
from tftrt_runtime.convert.rewrites.rewrite import HALF_PRECISIONS, Rewrite
from tftrt_runtime.convert.rewrites.scaled_rows import Rows

SMALLEST_EPSILON = 1e-13  # the root of a smaller one is too near to nothing in FP16
PASSED_ON = {"Identity", "StopGradient"}
SUMS = {"Add", "AddV2"}


@dataclass(frozen=True)
class Rooted:
    """The mean of squares plus epsilon under a root: which tensor is squared, or the two whose difference is."""

    root: Any
    squared: str | None
    difference: frozenset[str]
    mean: Any
    epsilon: float


@dataclass(frozen=True)
class End:
    """A node that makes `centered` / root * gain + offset, where `centered` is a tensor or the difference of two."""

    node: Any
    rooted: Rooted
    centered: tuple[str, ...]
    gain: str | None = None
    offset: str | None = None


class Search:
    """Looks for normalizations in a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def ends(self) -> list[End]:
        """What comes out of each normalization, once each."""
        found: dict[str, End] = {}
        for node in self.graph.definition.node:
            rooted = self._rooted(node)
            for end in self._ends(rooted) if rooted else ():
                found.setdefault(end.node.name, end)
        return list(found.values())

    def _rooted(self, root: Any) -> Rooted | None:
        if root.op not in {"Rsqrt", "Sqrt"} or attribute(root, "T").type != tf.float32.as_datatype_enum:
            return None
        for mean_of, number in self._operands(root.input[0], SUMS):
            epsilon, mean = self.graph.constant(number), self._maker(mean_of, {"Mean"})
            if epsilon is not None and mean is not None and epsilon.size == 1 and epsilon.ndim <= 1:
                return self._squares(root, mean, float(epsilon.flat[0]))
        return None

    def _squares(self, root: Any, mean: Any, epsilon: float) -> Rooted | None:
        axes = self.graph.constant(mean.input[1])
        if epsilon < SMALLEST_EPSILON or not attribute(mean, "keep_dims").b or axes is None:
            return None
        shape, along = self.graph.shape(mean.input[0]), {int(axis) for axis in axes.flat}
        rank = shape.rank
        # Of one element there is nothing to normalize, and what comes of it is rounding; the batch is no row.
        if 0 in along or (rank is not None and (-rank in along or all(shape[axis] == 1 for axis in along))):
            return None
        node = self._maker(mean.input[0], {"Square", "Mul", "Pow", "SquaredDifference"})
        if node is None:
            return None
        if node.op == "SquaredDifference":
            return Rooted(root, None, frozenset(map(self._name, node.input)), mean, epsilon)
        squared = self._name(node.input[0])
        if node.op == "Mul" and self._name(node.input[1]) != squared:
            return None
        if node.op == "Pow" and not self._is_number(node.input[1], 2):
            return None
        return Rooted(root, squared, self._difference(squared), mean, epsilon)

    def _ends(self, rooted: Rooted) -> Iterator[End]:
        reciprocals = [rooted.root] if rooted.root.op == "Rsqrt" else []
        if rooted.root.op == "Sqrt":
            for node in self._readers(rooted.root, {"RealDiv", "Reciprocal", "Inv"}):
                if node.op != "RealDiv" or self._is_number(node.input[0], 1):
                    reciprocals.append(node)
                elif self._is_centered(node.input[0], rooted):
                    yield End(node, rooted, (node.input[0],))
        for reciprocal in reciprocals:
            yield from self._sums(reciprocal, None, rooted)
            for node, other in self._products(reciprocal):
                if self._is_centered(other, rooted):
                    yield End(node, rooted, (other,))
                    continue
                yield from self._sums(node, other, rooted)
                for product, centered in self._products(node):
                    if self._is_centered(centered, rooted):
                        yield End(product, rooted, (centered,), other)

    def _sums(self, inverse: Any, gain: str | None, rooted: Rooted) -> Iterator[End]:
        """What is x * inverse - y * inverse, with an offset, where x - y or y - x is squared."""
        for product, one in self._products(inverse):
            if self._name(one) not in rooted.difference:
                continue
            for node in self._readers(product, SUMS | {"Sub"}):
                if node.op == "Sub":
                    if self._name(node.input[0]) != product.name:
                        continue
                    rests = [(node.input[1], False)]
                else:
                    rests = [(other, True) for this, other in self._both(node) if self._name(this) == product.name]
                for rest, added in rests:
                    for other, offset in self._subtracted(rest, added, inverse):
                        pair = frozenset({self._name(one), self._name(other)})
                        if pair == rooted.difference and len(pair) == 2:
                            yield End(node, rooted, (one, other), gain, offset)

    def _subtracted(self, rest: str, added: bool, inverse: Any) -> Iterator[tuple[str, str | None]]:
        """The y of which this is y * inverse, or less that where it is added, and the offset that it holds."""
        if not added:
            yield from ((other, None) for other in self._factor(rest, inverse))
            return
        negated = self._maker(rest, {"Neg"})
        if negated is not None:
            yield from ((other, None) for other in self._factor(negated.input[0], inverse))
        yield from ((other, None) for other in self._negated_factor(rest, inverse))
        subtraction = self._maker(rest, {"Sub"})
        if subtraction is not None:
            yield from ((other, subtraction.input[0]) for other in self._factor(subtraction.input[1], inverse))
        for this, offset in self._operands(rest, SUMS):
            yield from ((other, offset) for other in self._negated_factor(this, inverse))

    def _factor(self, tensor: str, inverse: Any) -> list[str]:
        """The other factors of a tensor that is a product with `inverse`."""
        return [other for this, other in self._operands(tensor, {"Mul"}) if self._name(this) == inverse.name]

    def _negated_factor(self, tensor: str, inverse: Any) -> list[str]:
        negations = [self._maker(other, {"Neg"}) for other in self._factor(tensor, inverse)]
        return [negation.input[0] for negation in negations if negation is not None]

    def _is_centered(self, tensor: str, rooted: Rooted) -> bool:
        """Whether this is what is squared, or its negative."""
        name = self._name(tensor)
        return name == rooted.squared or (bool(rooted.difference) and self._difference(name) == rooted.difference)

    def _difference(self, tensor: str) -> frozenset[str]:
        """The two tensors of which this is the difference."""
        node = self._maker(tensor, {"Sub"})
        pair = frozenset(map(self._name, node.input)) if node is not None else frozenset()
        return pair if len(pair) == 2 else frozenset()

    def _products(self, factor: Any) -> list[tuple[Any, str]]:
        """The products with a node, and the other factor."""
        return [
            (node, other)
            for node in self._readers(factor, {"Mul"})
            for this, other in self._both(node)
            if self._name(this) == factor.name
        ]

    def _readers(self, node: Any, operations: set[str]) -> list[Any]:
        """Who reads a node, also where it is passed on."""
        found: dict[str, Any] = {}
        for reader in self.graph.readers(node.name):
            if any(name.startswith("^") for name in reader.input):
                continue
            if reader.op in operations:
                found[reader.name] = reader
            elif reader.op in PASSED_ON:
                found.update({one.name: one for one in self._readers(reader, operations)})
        return list(found.values())

    def _operands(self, tensor: str, operations: set[str]) -> list[tuple[str, str]]:
        """The operands of the operation that makes this, in both orders."""
        node = self._maker(tensor, operations)
        return self._both(node) if node is not None else []

    @staticmethod
    def _both(node: Any) -> list[tuple[str, str]]:
        one, other = node.input[:2]
        return [(one, other), (other, one)]

    def _maker(self, tensor: str, operations: set[str]) -> Any:
        return self.graph.maker(self._name(tensor), operations)

    def _is_number(self, tensor: str, number: float) -> bool:
        value = self.graph.constant(tensor)
        return value is not None and value.size == 1 and value.ndim <= 1 and value.flat[0] == number

    def _name(self, tensor: str) -> str:
        """A tensor's one name, however often it is passed on."""
        name = tensor.removesuffix(":0")
        while (node := self.graph.maker(name, PASSED_ON)) is not None:
            name = node.input[0].removesuffix(":0")
        return name


def _find(graph: Graph) -> list[End]:
    return Search(graph).ends()


def _replace(graph: Graph, end: End) -> list[str]:
    node, mean = end.node, end.rooted.mean
    rows = Rows(graph, node.name, mean.input[1], mean.attr["Tidx"].type, node.device)
    (centered,) = end.centered if len(end.centered) == 1 else (rows.add("centered", "Sub", *end.centered),)
    value, scale = rows.normalize(centered, end.rooted.epsilon)
    last = [("Mul", scale)]
    last += [("Mul", end.gain)] if end.gain is not None else []
    last += [("AddV2", end.offset)] if end.offset is not None else []
    for number, (operation, other) in enumerate(last[:-1]):
        value = rows.add(("normalized", "with_gain")[number], operation, value, other)
    operation, other = last[-1]
    become(node, operation, value, other)
    return [node.name]


SPELLED_OUT = Rewrite(
    name="spelled out normalization",
    reason="FP16 holds squares up to 65,504: from values of 256 on its variance is infinite and the answer 0",
    find=_find,
    replace=_replace,
    precisions=HALF_PRECISIONS,
)
