"""What a rewrite is: a pattern with its condition, what takes its place, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tftrt_runtime.convert.rewrites.graph_defs import Graph

Match = TypeVar("Match")

PRECISIONS = frozenset({"FP32", "FP16", "INT8"})
# With INT8, what has no ranges is computed in FP16.
HALF_PRECISIONS = frozenset({"FP16", "INT8"})


@dataclass(frozen=True)
class Rewrite(Generic[Match]):
    """One kind of change to a frozen graph, which leaves all that is fetched what it was.

    `find` returns where pattern and condition hold, and changes nothing. `replace` changes one such place, so that no
    other of them is lost, and returns the nodes whose first outputs are what they were, though made in another way.
    """

    name: str
    reason: str
    find: Callable[[Graph], Sequence[Match]]
    replace: Callable[[Graph, Match], Iterable[str]]
    precisions: frozenset[str] = PRECISIONS  # of engines, in which it is done

    def replace_all(self, graph: Graph, matches: Iterable[Match]) -> tuple[str, ...]:
        """Change all of these places; the names of the nodes that are what they were."""
        return tuple(name for match in matches for name in self.replace(graph, match))

    def apply(self, definition: Any, fetched: Iterable[str] = ()) -> int:
        """Rewrite this GraphDef of a frozen graph, of which these tensors are fetched; returns in how many places."""
        graph = Graph(definition, fetched)
        matches = self.find(graph)
        self.replace_all(graph, matches)
        return len(matches)
