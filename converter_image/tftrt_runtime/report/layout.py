"""Where to draw the nodes of a graph: in layers from its inputs down, the layers in columns like a newspaper's text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, sqrt

from tftrt_runtime.report.data import Graph, Node

ENGINE = "TRTEngineOp"
# Of more nodes than these the scopes are drawn, as far inside as there is room.
MAX_NODES = 600
SWEEPS = 4  # over all layers, to untangle edges

WIDTH, HEIGHT = 104, 18  # of a node
ACROSS, DOWN = 116, 28  # from node to node
ENGINE_WIDTH, ENGINE_HEIGHT = 220, 54
GUTTER = 34  # between columns, for edges that go from one to the next
MARGIN = 16
ASPECT = 1.9  # of the whole picture
CORNER = 6


@dataclass(frozen=True)
class Box:
    """A node's place: its centre and size."""

    x: float
    y: float
    width: float
    height: float
    title: str
    label: str
    op: str

    @property
    def is_engine(self) -> bool:
        """Whether it is to be highlighted."""
        return self.op == ENGINE


@dataclass(frozen=True)
class Picture:
    """What to draw; `paths` are the edges, as SVG's `d`. Without boxes where there are too many nodes."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    paths: tuple[str, ...]
    scopes: bool  # boxes stand for scopes


def picture(graph: Graph) -> Picture:
    """The graph's picture."""
    nodes = _scoped(graph.nodes)
    if not nodes:
        return Picture(width=0, height=0, boxes=(), paths=(), scopes=False)
    layers = _ordered(nodes, _layers(nodes))
    places, width, height = _places(nodes, layers)
    boxes = tuple(_box(node, places[number]) for number, node in enumerate(nodes))
    paths = tuple(
        _path(boxes[source], boxes[number], places[source], places[number], height)
        for number, node in enumerate(nodes)
        for source in node.inputs
    )
    return Picture(width=width, height=height, boxes=boxes, paths=paths, scopes=len(nodes) < len(graph.nodes))


def _scoped(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """The nodes, or as many levels of scopes as there is room for; nothing where names have no scopes."""
    if len(nodes) <= MAX_NODES:
        return nodes
    deepest = max(node.name.count("/") for node in nodes)
    for depth in range(deepest, 0, -1):
        names = [_scope(node, depth) for node in nodes]
        if len(set(names)) <= MAX_NODES:
            return _merged(nodes, names)
    return ()


def _scope(node: Node, depth: int) -> str:
    parts = node.name.split("/")
    return node.name if node.op == ENGINE or len(parts) <= depth else "/".join(parts[:depth]) + "/"


def _merged(nodes: tuple[Node, ...], names: list[str]) -> tuple[Node, ...]:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    inside: dict[str, list[Node]] = defaultdict(list)
    inputs: dict[str, dict[int, None]] = defaultdict(dict)
    for node, name in zip(nodes, names):
        inside[name].append(node)
        inputs[name].update({numbers[names[source]]: None for source in node.inputs if names[source] != name})
    return tuple(
        Node(
            name=name,
            op=inside[name][0].op if len(inside[name]) == 1 else f"{len(inside[name])} operations",
            inputs=tuple(inputs[name]),
        )
        for name in numbers
    )


def _layers(nodes: tuple[Node, ...]) -> list[int]:
    """Each node's layer: one below the lowest of its inputs. Edges that close a circle are passed over."""
    layer = [0] * len(nodes)
    waiting = [len(node.inputs) for node in nodes]
    consumers: dict[int, list[int]] = defaultdict(list)
    for number, node in enumerate(nodes):
        for source in node.inputs:
            consumers[source].append(number)
    ready = [number for number, count in enumerate(waiting) if count == 0]
    done: set[int] = set()
    while len(done) < len(nodes):
        if not ready:
            ready = [next(number for number in range(len(nodes)) if number not in done)]
        current = ready.pop()
        if current in done:
            continue
        done.add(current)
        for consumer in consumers[current]:
            waiting[consumer] -= 1
            if consumer not in done:
                layer[consumer] = max(layer[consumer], layer[current] + 1)
                if waiting[consumer] == 0:
                    ready.append(consumer)
    return layer


def _ordered(nodes: tuple[Node, ...], layer: list[int]) -> list[list[int]]:
    """The nodes of each layer from left to right, each near its neighbours (the barycentre method of Sugiyama)."""
    layers: list[list[int]] = [[] for _ in range(max(layer) + 1)]
    for number, at in enumerate(layer):
        layers[at].append(number)
    neighbours: dict[int, list[int]] = defaultdict(list)
    for number, node in enumerate(nodes):
        for source in node.inputs:
            neighbours[number].append(source)
            neighbours[source].append(number)
    position: dict[int, float] = {}

    def place(row: Iterable[int]) -> None:
        found = list(row)
        position.update({number: index - (len(found) - 1) / 2 for index, number in enumerate(found)})

    def barycentre(number: int) -> float:
        around = neighbours[number]
        return sum(position[other] for other in around) / len(around) if around else position[number]

    for row in layers:
        place(row)
    for sweep in range(SWEEPS):
        for row in layers if sweep % 2 == 0 else reversed(layers):
            row.sort(key=barycentre)
            place(row)
    return layers


@dataclass(frozen=True)
class _Place:
    x: float
    y: float
    column: int
    left: float  # of its column


def _places(nodes: tuple[Node, ...], layers: list[list[int]]) -> tuple[list[_Place], float, float]:
    widths = [sum(_size(nodes[number])[0] + ACROSS - WIDTH for number in row) for row in layers]
    heights = [max(_size(nodes[number])[1] for number in row) + DOWN - HEIGHT for row in layers]
    typical = sum(widths) / len(widths) + GUTTER
    columns = max(1, round(sqrt(ASPECT * sum(heights) / typical)))
    rows = ceil(len(layers) / columns)
    found: dict[int, _Place] = {}
    left, tallest = float(MARGIN), 0.0
    for column, first in enumerate(range(0, len(layers), rows)):
        within = range(first, min(first + rows, len(layers)))
        wide = max(widths[index] for index in within)
        y = MARGIN + CORNER * 2.0
        for index in within:
            x = left + (wide - widths[index]) / 2
            for number in layers[index]:
                step = _size(nodes[number])[0] + ACROSS - WIDTH
                found[number] = _Place(x=x + step / 2, y=y + heights[index] / 2, column=column, left=left)
                x += step
            y += heights[index]
        left += wide + GUTTER
        tallest = max(tallest, y)
    return [found[number] for number in range(len(nodes))], left - GUTTER + MARGIN, tallest + MARGIN + CORNER * 2


def _size(node: Node) -> tuple[int, int]:
    return (ENGINE_WIDTH, ENGINE_HEIGHT) if node.op == ENGINE else (WIDTH, HEIGHT)


def _box(node: Node, place: _Place) -> Box:
    width, height = _size(node)
    is_scope = node.name.endswith("/")
    label = node.name.rstrip("/").rpartition("/")[2] if is_scope else node.op
    return Box(x=place.x, y=place.y, width=width, height=height, title=node.name, label=label, op=node.op)


def _path(source: Box, target: Box, start: _Place, end: _Place, height: float) -> str:
    """An edge from a box's foot to another's head; to another column it goes round by the foot of the page."""
    foot, head = source.y + source.height / 2, target.y - target.height / 2
    if start.column == end.column:
        if head - foot <= 2 * DOWN:
            half = (foot + head) / 2
            bend = f"{source.x:.1f} {half:.1f} {target.x:.1f} {half:.1f} {target.x:.1f} {head:.1f}"
            return f"M{source.x:.1f} {foot:.1f}C{bend}"
        # Past the layers between.
        side = max(source.x + source.width / 2, target.x + target.width / 2) + (ACROSS - WIDTH)
        return _rounded(
            [
                (source.x, foot),
                (source.x, foot + (DOWN - HEIGHT) / 2),
                (side, foot + (DOWN - HEIGHT) / 2),
                (side, head - (DOWN - HEIGHT) / 2),
                (target.x, head - (DOWN - HEIGHT) / 2),
                (target.x, head),
            ]
        )
    bottom, top, gutter = height - MARGIN, float(MARGIN), end.left - GUTTER / 2
    return _rounded(
        [(source.x, foot), (source.x, bottom), (gutter, bottom), (gutter, top), (target.x, top), (target.x, head)]
    )


def _rounded(points: list[tuple[float, float]]) -> str:
    """A line along the points whose corners are round."""
    made = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for before, corner, after in zip(points, points[1:], points[2:]):
        into, out = _toward(corner, before), _toward(corner, after)
        made.append(f"L{into[0]:.1f} {into[1]:.1f}Q{corner[0]:.1f} {corner[1]:.1f} {out[0]:.1f} {out[1]:.1f}")
    made.append(f"L{points[-1][0]:.1f} {points[-1][1]:.1f}")
    return "".join(made)


def _toward(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    across, down = other[0] - corner[0], other[1] - corner[1]
    length = abs(across) + abs(down)
    share = min(CORNER, length / 2) / length if length else 0.0
    return corner[0] + across * share, corner[1] + down * share
