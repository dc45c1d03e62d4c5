# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""Networks near what the rewrites look for: most have the pattern, many another one that is nearly the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

SELDOM = 0.015  # where six tensors, one behind the other, must be read by nobody else

Shape = list[int | None]
Network = Callable[..., Any]


class Draw:
    """What a network is drawn with; the same seed draws the same one."""

    def __init__(self, seed: int, in_loop: bool) -> None:
        self.random = np.random.default_rng(seed)
        self.in_loop = in_loop
        self.fetched: list[str] = []  # tensors inside, which are outputs themselves
        self.shared: list[Any] = []  # tensors inside that something else reads, too

    def chance(self, probability: float) -> bool:
        return bool(self.random.random() < probability)

    def one_of(self, *options: Any) -> Any:
        return options[self.random.integers(len(options))]

    def size(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high + 1))

    def values(self, *shape: int, kind: str = "float32") -> Any:
        return self.random.normal(size=shape).astype(kind)

    def weights(self, *shape: int) -> Any:
        """A model's: a variable or a constant, of which a loop gets the first from outside."""
        values = self.values(*shape)
        return tf.Variable(values) if self.chance(0.3) else values

    def near_one(self, *shape: int) -> Any:
        return self.random.uniform(0.5, 1.5, shape).astype(np.float32)

    def inner(self, x: Any, probability: float = 0.04) -> Any:
        """The tensor, which now and then is fetched, or read by something else."""
        if self.chance(probability) and not self.in_loop:
            self.fetched.append(x.name)
        elif self.chance(probability):
            self.shared.append(tf.reduce_max(x))
        return x

    def open(self, size: int, probability: float = 0.3) -> int | None:
        return None if self.chance(probability) else size


@dataclass(frozen=True)
class Pattern:
    """Shapes of inputs whose open axes have sizes of their own, and what is made of them."""

    shapes: list[Shape]
    sizes: list[list[int]]  # of all axes but the batch, whether open or not
    network: Network
    scale: float = 1.0  # of the inputs' values


def of_items(sizes: list[int], draw: Draw, open_axes: float = 0.0) -> tuple[list[Shape], list[list[int]]]:
    """One input with an open batch."""
    return [[None, *(draw.open(size, open_axes) for size in sizes)]], [sizes]


def fused_normalization(draw: Draw) -> Pattern:
    """Keras' `LayerNormalization`: a batch normalization in training mode over rows."""
    sizes = [draw.size(1, 5) for _ in range(draw.size(0, 2))] + [draw.size(4, 33)]
    shapes, sizes_of = of_items(sizes, draw, 0.3)
    first = draw.size(1, len(sizes)) if draw.chance(0.3) else len(sizes)  # of the normalized axes, the batch at 0
    epsilon = float(draw.one_of(1e-2, 1e-3, 1e-4, 1.01e-5))
    other = draw.one_of(*["none"] * 7, "scale", "behind", "mean")
    gain, offset = draw.weights(sizes[-1]), draw.weights(sizes[-1])

    def network(x: Any) -> Any:
        own = tf.shape(draw.inner(x))
        rows, row = tf.reduce_prod(own[:first]), tf.reduce_prod(own[first:])
        channels = draw.inner(tf.reshape(x, tf.stack([1, rows, row, 1])))
        ones = tf.fill([rows], 2.0 if other == "scale" else 1.0)
        normalized, mean, _ = tf.compat.v1.nn.fused_batch_norm(
            channels, ones, tf.fill([rows], 0.0), epsilon=epsilon, data_format="NCHW"
        )
        y = draw.inner(tf.reshape(draw.inner(normalized), tf.stack([rows, row]) if other == "behind" else own))
        y = y + tf.reduce_sum(mean) if other == "mean" else y
        return y * gain + offset if other != "behind" else y

    return Pattern(shapes, sizes_of, network, draw.one_of(1.0, 30.0))


def spelled_out_normalization(draw: Draw) -> Pattern:
    """BERT's, Keras 3's, ONNX's, and by the root of the mean square."""
    sizes = [draw.size(1, 5) for _ in range(draw.size(0, 2))] + [draw.size(16, 65)]
    shapes, sizes_of = of_items(sizes, draw, 0.0 if draw.chance(0.5) else 0.3)
    axes = [-1] if draw.chance(0.7) else sorted({len(sizes), draw.size(1, len(sizes))})
    epsilon = float(draw.one_of(1e-12, 1e-6, 1e-5, 1e-3, 1e-3))
    gain = draw.weights(sizes[-1]) if draw.chance(0.7) else None
    offset = draw.weights(sizes[-1]) if draw.chance(0.7) else None
    form = draw.one_of("bert", "keras 3", "divided", "times", "mean square")
    other = draw.one_of(*["none"] * 8, "sum", "another", "batch", "dropped axes")

    def network(x: Any) -> Any:
        reduce = tf.reduce_sum if other == "sum" else tf.reduce_mean
        along = [0, *axes] if other == "batch" else axes
        mean = draw.inner(tf.reduce_mean(x, along, keepdims=True))
        if form in {"bert", "keras 3"}:
            squares = tf.math.squared_difference(x, tf.stop_gradient(mean))
        else:
            c = x if form == "mean square" else draw.inner(x - mean)
            squares = draw.one_of(tf.square, lambda c: c * c, lambda c: tf.pow(c, 2.0))(c)
        kept = other != "dropped axes"
        variance = reduce(squares, along, keepdims=kept)
        variance = variance if kept else tf.reshape(variance, tf.shape(mean))
        under = draw.one_of(lambda: variance + epsilon, lambda: epsilon + draw.inner(variance))()
        base = x + 1.0 if other == "another" else x
        if form in {"bert", "keras 3"}:
            inverse = draw.inner(tf.math.rsqrt(under))
            inverse = inverse if gain is None else inverse * gain
            if form == "bert":
                rest = -mean * inverse if offset is None else offset - mean * inverse
            else:
                rest = -mean * inverse
                rest = rest if offset is None else rest + offset
            return draw.inner(draw.inner(base * inverse) + rest)
        c = c + 1.0 if other == "another" else c
        if form == "divided":
            y = draw.one_of(lambda: c / tf.sqrt(under), lambda: c * (1.0 / tf.sqrt(under)))()
        else:
            y = c * draw.inner(tf.math.rsqrt(under))
        y = y if gain is None else draw.inner(y) * gain
        return y if offset is None else y + offset

    return Pattern(shapes, sizes_of, network, draw.one_of(1.0, 30.0, 300.0))


def einsum(draw: Draw) -> Pattern:
    """Two operands whose labels are batch, rows, columns and contracted in any order."""
    counts = draw.one_of(
        (1, 1, 1, 1), (2, 1, 1, 1), (2, 1, 1, 1), (1, 1, 2, 1), (0, 2, 1, 1), (1, 2, 1, 0), (2, 2, 1, 2)
    )
    labels = iter("abcdefgh")
    batch, rows, columns, contracted = ("".join(next(labels) for _ in range(count)) for count in counts)

    def mixed(text: str) -> str:
        return "".join(draw.random.permutation(list(text)))

    left, right, result = (
        mixed(batch + rows + contracted),
        mixed(batch + columns + contracted),
        mixed(batch + rows + columns),
    )
    size_of = {label: draw.size(1, 5) for label in batch + rows + columns + contracted}
    shapes: list[Shape] = [[draw.open(size_of[label]) for label in operand] for operand in (left, right)]
    waits = draw.chance(0.1)

    def network(x: Any, y: Any) -> Any:
        x, y = draw.inner(tf.nn.relu(x)), draw.inner(y * 1.5)
        with tf.control_dependencies([tf.debugging.assert_less(x, 1e6)] if waits else []):
            product = tf.einsum(f"{left},{right}->{result}", x, y)
        return draw.inner(product) + 1.0

    sizes = [[size_of[label] for label in operand] for operand in (left, right)]
    return Pattern(shapes, sizes, network)


def reshape(draw: Draw) -> Pattern:
    """Shapes that are computed from the batch, and some that change it or hang on it otherwise."""
    sizes = [draw.size(1, 4) * 2 for _ in range(draw.size(1, 3))]
    shapes, sizes_of = of_items(sizes, draw, 0.1)
    whole = int(np.prod(sizes))
    other = draw.one_of(*["none"] * 7, "least", "batch", "values", "half")
    form = draw.one_of("stack", "concat", "open", "long", "twice")

    def network(x: Any) -> Any:
        x = draw.inner(tf.nn.relu(x))
        own = tf.shape(x + 0.5 if draw.chance(0.3) else x)
        batch = own[0]
        if other == "least":
            shape = tf.stack([batch, tf.minimum(batch, 2), -1])
        elif other == "batch":
            shape = tf.stack([batch * 2, whole // 2])
        elif other == "values":
            shape = tf.stack([batch + tf.cast(tf.reduce_min(x) * 0.0, tf.int32), whole])
        elif other == "half":
            shape = tf.stack([(batch + 1) // 2 * 2 - batch % 2, -1])
        elif form == "concat":
            shape = tf.concat([own[:1], [2, whole // 2]], 0)
        elif form == "open":
            shape = tf.stack([batch, -1, 2])
        elif form == "long":
            shape = tf.stack([tf.shape(x, tf.int64)[0], 2, whole // 2])
        elif form == "twice":
            x = draw.inner(tf.reshape(x, tf.stack([batch, whole // 2, 2])))
            shape = tf.stack([tf.shape(x)[0], whole])
        else:
            shape = tf.stack([batch, whole // 2, 2])
        y = draw.inner(tf.reshape(x, shape))
        return y + tf.reshape(y * 2.0, tf.shape(y)) if draw.chance(0.2) else y * 2.0

    return Pattern(shapes, sizes_of, network)


def padded(x: Any, pads: list[tuple[int, int]], draw: Draw, first: bool, value: float = 0.0) -> Any:
    """Padding of height and width; as `Pad`, `PadV2` or with 64 bits."""
    around: list[tuple[int, int]] = [(0, 0), (0, 0), *pads] if first else [(0, 0), *pads, (0, 0)]
    widths = np.array(around, draw.one_of(np.int32, np.int32, np.int64))
    if value or draw.chance(0.15):
        return tf.raw_ops.PadV2(input=x, paddings=widths, constant_values=value)
    sizes = x.shape.as_list()[2:] if first else x.shape.as_list()[1:3]
    if draw.chance(0.03) and None not in sizes and min(sizes) > widths.max():
        return tf.pad(x, widths, "REFLECT")
    return tf.pad(x, widths)


def same_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    whole = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return whole // 2, whole - whole // 2


def pads_for(sizes: list[int], kernel: int, stride: int, draw: Draw, same: float) -> list[tuple[int, int]]:
    if draw.chance(same):
        return [same_pads(size, kernel, stride) for size in sizes]
    if draw.chance(0.5):
        return [(kernel // 2, kernel // 2)] * 2
    return [(draw.size(0, 3), draw.size(0, 3)) for _ in sizes]


def convolution(draw: Draw) -> Pattern:
    """Convolutions with padding before them."""
    kernel, stride, channels = draw.one_of(1, 2, 3, 3, 5, 7), draw.size(1, 3), draw.size(1, 4)
    sizes = [draw.size(7, 20), draw.size(7, 20)]
    first = draw.chance(0.06)
    open_axes = 0.5 if draw.chance(0.25) else 0.0
    inner = [draw.open(size, open_axes) for size in sizes]
    shapes: list[Shape] = [[None, channels, *inner] if first else [None, *inner, channels]]
    pads = pads_for(sizes, kernel, stride, draw, 0.5)
    depthwise = draw.chance(0.35) and not first
    dilation = draw.one_of(*[1] * 12, 2, 3) if kernel <= 3 else 1
    value = draw.one_of(*[0.0] * 12, 1.0)
    weights = draw.weights(kernel, kernel, channels, draw.size(1, 3))
    layout = "NCHW" if first else "NHWC"
    steps = [1, 1, stride, stride] if first else [1, stride, stride, 1]
    apart = [1, 1, dilation, dilation] if first else [1, dilation, dilation, 1]
    operation = tf.raw_ops.DepthwiseConv2dNative if depthwise else tf.raw_ops.Conv2D

    def network(x: Any) -> Any:
        x = draw.inner(padded(draw.inner(tf.nn.relu(x)), pads, draw, first, value))
        options = {"strides": steps, "padding": "VALID", "data_format": layout, "dilations": apart}
        y = draw.inner(operation(input=x, filter=weights, **options))
        if draw.chance(0.15):  # another one reads the same padding
            other = draw.values(3, 3, channels, 2)
            y = tf.reduce_sum(y) + tf.nn.conv2d(x, other, 1, "VALID", data_format=layout)
        return tf.nn.relu(y) if draw.chance(0.5) else y

    return Pattern(shapes, [[channels, *sizes] if first else [*sizes, channels]], network)


def pooling(draw: Draw) -> Pattern:
    """As ResNet begins, and much that is like it."""
    like_resnet = draw.chance(0.7)
    kernel, stride = (draw.one_of(3, 7), 2) if like_resnet else (draw.one_of(1, 3, 5), draw.size(1, 3))
    channels, depth = draw.size(1, 3), draw.size(1, 4)
    sizes = [draw.size(14, 33), draw.size(14, 33)]
    first = draw.chance(0.05)
    pads = (
        [(kernel // 2, kernel // 2 + draw.size(0, 1))] * 2
        if like_resnet
        else pads_for(sizes, kernel, stride, draw, 0.2)
    )
    weights, bias = draw.weights(kernel, kernel, channels, depth), draw.weights(depth)
    pool, step = (3, 2) if like_resnet or draw.chance(0.5) else (draw.size(2, 4), draw.size(1, 3))
    pool_pads = draw.one_of(
        [(1, 1)] * 2, [(1, 1)] * 2, [(0, 1)] * 2, [(0, 1), (1, 1)], [(draw.size(0, 2), draw.size(0, 2))] * 2
    )
    activation = draw.one_of(*[tf.nn.relu] * 5, tf.nn.relu6, tf.nn.elu)
    normalization = draw.one_of("none", "fused", "spelled out", "spelled out")
    reader = draw.one_of(*["pointwise"] * 7, "relu", "both", "wide")
    unpadded = draw.chance(0.05)
    value = draw.one_of(*[0.0] * 15, 1.0)
    inner = [channels, *sizes] if first else [*sizes, channels]
    layout = "NCHW" if first else "NHWC"

    def network(x: Any) -> Any:
        x = x if unpadded else draw.inner(padded(x, pads, draw, first), SELDOM)
        x = draw.inner(tf.nn.conv2d(x, weights, stride, "SAME" if unpadded else "VALID", data_format=layout), SELDOM)
        along = (1, -1, 1, 1) if first else (1, 1, 1, -1)
        with_bias = draw.one_of("operation", "sum", "none")
        x = tf.nn.bias_add(x, bias, data_format=layout) if with_bias == "operation" else x
        x = x + tf.reshape(bias, along) if with_bias == "sum" else x
        x = normalized(x)
        x = draw.inner(activation(draw.inner(x, SELDOM)), SELDOM)
        x = draw.inner(padded(x, pool_pads, draw, first, value), SELDOM)
        x = draw.inner(tf.nn.max_pool2d(x, pool, step, "VALID", data_format=layout), SELDOM)
        return read(x)

    def normalized(x: Any) -> Any:
        scale, offset, mean, variance = (
            draw.near_one(depth),
            draw.values(depth),
            draw.values(depth),
            draw.near_one(depth),
        )
        if normalization == "fused":
            return tf.compat.v1.nn.fused_batch_norm(
                x, scale, offset, mean, variance, is_training=False, data_format=layout
            )[0]
        if normalization == "spelled out":
            along = [depth, 1, 1] if first else [depth]
            parts = [tf.reshape(part, along) for part in (mean, variance, offset, scale)]
            return tf.nn.batch_normalization(x, *parts, 1e-3)
        return x

    def read(x: Any) -> Any:
        if reader == "relu":
            return tf.nn.relu(x) * 2.0
        read = [one(x) for _ in range(draw.size(1, 2))]
        y = read[0] if len(read) == 1 else read[0] + tf.reduce_sum(read[1])
        return y + tf.reduce_sum(x) if reader == "both" else y

    def one(x: Any) -> Any:
        width = 3 if reader == "wide" else 1
        kernel, stride = draw.values(width, width, depth, draw.size(1, 3)), draw.size(1, 3)
        apart = 2 if stride == 1 and not first and draw.chance(0.3) else 1
        padding = "VALID" if width == 1 and draw.chance(0.5) else "SAME"
        return tf.nn.conv2d(x, kernel, stride, padding, data_format=layout, dilations=apart)

    return Pattern([[None, *inner]], [inner], network)


PATTERNS: dict[str, Callable[[Draw], Pattern]] = {
    "fused normalization": fused_normalization,
    "spelled out normalization": spelled_out_normalization,
    "einsum": einsum,
    "reshape": reshape,
    "pooling": pooling,
    "convolution": convolution,
}
# Two of these in each nine graphs, for fewer of them have what is looked for.
OFTEN = ("fused normalization", "pooling", "convolution")
