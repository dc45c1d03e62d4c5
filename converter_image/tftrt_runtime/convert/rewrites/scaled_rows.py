"""What normalizes rows in a form that FP16 can hold, whatever their values. Imports TensorFlow.

c / sqrt(mean(c ** 2) + epsilon) is what is wanted, and FP16 holds c ** 2 up to 65,504 only; beyond, their mean is
infinite and the whole row becomes 0. So with m = max(|c|) it is divided by m ** 2 under the root and by m above it:
every square is at most 1, and what is under the root lies between 1 / n and 2 for rows of n elements. Where m is
smaller than the root of epsilon, that takes its place, so that the same holds for rows of zeros.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from tftrt_runtime.convert.rewrites.graph_defs import Graph

SMALLEST_UNIT = 2.0**-14  # of FP16, with all of its digits


class Rows:
    """Operations on rows of float32 along some axes, added to a graph under one name."""

    def __init__(self, graph: Graph, name: str, axes: str, axes_type: int, device: str) -> None:
        self._graph, self._name, self._device = graph, name, device
        self._axes, self._axes_type = axes, axes_type

    def add(self, name: str, operation: str, *inputs: str) -> str:
        """An operation on elements; its name."""
        node = self._graph.add(f"{self._name}/{name}", operation, inputs, self._device)
        node.attr["T"].type = tf.float32.as_datatype_enum
        return str(node.name)

    def reduce(self, name: str, operation: str, of: str) -> str:
        """One number of each row; its name."""
        made = self.add(name, operation, of, self._axes)
        self._graph.nodes[made].attr["Tidx"].type = self._axes_type
        self._graph.nodes[made].attr["keep_dims"].b = True
        return made

    def normalize(self, centered: str, epsilon: float) -> tuple[str, str]:
        """Two factors, whose product is `centered` divided by the root of the mean of its squares plus epsilon."""
        root = math.sqrt(epsilon)
        largest = self.reduce("largest", "Max", self.add("absolute", "Abs", centered))
        smallest = self._constant("smallest_unit", max(root, SMALLEST_UNIT), largest)
        unit = self.add("unit", "Maximum", largest, smallest)
        scaled = self.add("scaled", "RealDiv", centered, unit)
        squares = self.reduce("variance", "Mean", self.add("squared", "Mul", scaled, scaled))
        offset = self.add("scaled_epsilon_root", "RealDiv", self._constant("epsilon_root", root, unit), unit)
        under = self.add("variance_plus_epsilon", "AddV2", squares, self.add("scaled_epsilon", "Mul", offset, offset))
        return scaled, self.add("scale", "Rsqrt", under)

    def _constant(self, name: str, value: Any, beside: str) -> str:
        return self._graph.add_constant(f"{self._name}/{name}", value, tf.float32, beside, self._device)
