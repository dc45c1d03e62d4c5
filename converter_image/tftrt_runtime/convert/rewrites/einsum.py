"""Writes `Einsum` so that TensorRT answers it rightly: as matrix products, where it is a batch of them.

TF-TRT hands an equation to TensorRT as it is (tensorflow/compiler/tf2tensorrt/convert/ops/einsum.cc). TensorRT 8.5
answers some wrongly whatever the precision, and says nothing: of Keras' attention the second product,
`acbe,aecd->abcd`, where a label of the batch (c) is behind another (b) in the result. Seen to be right are equations
whose result has the batch first; so every other is written that way, with a `Transpose` behind it.

A batch of products of one matrix by one other needs no `Einsum` at all. Operands with several free or contracted
labels, as those of attention's projections have, would take a `Reshape` to sizes of which several may be open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tftrt_runtime.convert.rewrites.graph_defs import Graph, attribute, become
from tftrt_runtime.convert.rewrites.rewrite import Rewrite


@dataclass(frozen=True)
class Equation:
    """Of two operands, and without labels that are repeated in one of them, summed in one alone, or not named."""

    left: str
    right: str
    result: str

    @staticmethod
    def of(node: Any) -> Equation | None:
        """The equation of a node; None where it is another operation or a more general equation."""
        if node.op != "Einsum" or attribute(node, "N").i != 2:
            return None
        operands, _, result = attribute(node, "equation").s.decode().partition("->")
        left, _, right = operands.partition(",")
        plain = all(labels.isalpha() and len(set(labels)) == len(labels) for labels in (left, right, result))
        one_sided = set(left) ^ set(right)
        if not plain or not one_sided <= set(result) <= set(left) | set(right):
            return None
        return Equation(left, right, result)

    @property
    def batch(self) -> str:
        """The labels that both operands and the result have, in the order of the result."""
        return "".join(label for label in self.result if label in self.left and label in self.right)

    @property
    def contracted(self) -> str:
        """The labels that are summed over."""
        return "".join(label for label in self.left if label not in self.result)

    @property
    def rows(self) -> str:
        """The labels of the left operand alone."""
        return "".join(label for label in self.left if label not in self.right)

    @property
    def columns(self) -> str:
        """The labels of the right operand alone."""
        return "".join(label for label in self.right if label not in self.left)

    @property
    def multiplies_matrices(self) -> bool:
        """Whether this is a batch of products of one matrix by one other."""
        return bool(self.batch) and len(self.rows) == len(self.columns) == len(self.contracted) == 1

    @property
    def has_batch_first(self) -> bool:
        """Whether the result has the batch, then what one operand alone has, then what the other has."""
        return self.result in (self.batch + self.rows + self.columns, self.batch + self.columns + self.rows)


def _find(graph: Graph) -> list[tuple[Any, Equation]]:
    """What can be answered wrongly, and every product of matrices."""
    found = [(node, equation) for node in graph.definition.node if (equation := Equation.of(node))]
    return [
        (node, equation) for node, equation in found if equation.multiplies_matrices or not equation.has_batch_first
    ]


def _replace(graph: Graph, match: tuple[Any, Equation]) -> list[str]:
    node, equation = match
    made = equation.batch + equation.rows + equation.columns
    product = node
    if equation.result != made:
        product = graph.add(f"{node.name}/product", "Einsum", node.input[:2], node.device)
        product.attr["T"].CopyFrom(node.attr["T"])
        _transpose(graph, node, product.name, made, equation.result)
    left, right = product.input[:2]
    if equation.multiplies_matrices:
        _multiply(graph, product, left, right, equation)
    else:
        become(product, "Einsum", left, right)
        product.attr["N"].i = 2
        product.attr["equation"].s = f"{equation.left},{equation.right}->{made}".encode()
    return [node.name]


def _multiply(graph: Graph, product: Any, left: str, right: str, equation: Equation) -> None:
    """Make this node the product, whose operands are transposed where it cannot turn their last two axes itself."""
    batch, rows, columns, contracted = equation.batch, equation.rows, equation.columns, equation.contracted
    turned_left = equation.left == batch + contracted + rows
    turned_right = equation.right == batch + columns + contracted
    wanted_left = equation.left if turned_left else batch + rows + contracted
    wanted_right = equation.right if turned_right else batch + contracted + columns
    operands = []
    for side, tensor, labels, wanted in (
        ("left", left, equation.left, wanted_left),
        ("right", right, equation.right, wanted_right),
    ):
        if labels != wanted:
            transposed = graph.add(f"{product.name}/{side}", "Transpose", [tensor], product.device)
            transposed.attr["T"].CopyFrom(product.attr["T"])
            _transpose(graph, transposed, tensor, labels, wanted)
            tensor = transposed.name
        operands.append(tensor)
    become(product, "BatchMatMulV2", *operands)
    product.attr["adj_x"].b = turned_left
    product.attr["adj_y"].b = turned_right


def _transpose(graph: Graph, node: Any, tensor: str, labels: str, wanted: str) -> None:
    """Make this node a transposition of the tensor, whose axes have these labels."""
    order = [labels.index(label) for label in wanted]
    name = graph.add_constant(f"{node.name}/order", order, tf.int32, tensor, node.device)
    become(node, "Transpose", tensor, name)
    node.attr["Tperm"].type = tf.int32.as_datatype_enum


PRODUCTS = Rewrite(
    name="einsum as matrix products",
    reason="TensorRT answers some equations wrongly, whatever the precision, and says nothing",
    find=_find,
    replace=_replace,
)
