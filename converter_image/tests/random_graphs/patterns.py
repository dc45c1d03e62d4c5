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


def grouped(draw: Draw) -> Pattern:
    """Convolutions of several groups, small ones and some whose dense kernel would be too large."""
    groups, kernel = draw.one_of(1, 2, 2, 3, 4, 4), draw.one_of(1, 3, 3, 5)
    large = draw.chance(0.55)
    if large:
        groups, kernel = draw.one_of(2, 4), 1
    inner, outputs = (2100 // groups, 2100 // groups) if large else (draw.size(1, 3), draw.size(1, 3))
    sizes = [draw.size(1, 3) if large else draw.size(5, 12) for _ in range(2)]
    first = draw.chance(0.06)
    channels = inner * groups
    axes = [draw.open(size) for size in sizes]
    shapes: list[Shape] = [[None, channels, *axes] if first else [None, *axes, channels]]
    stride, padding = draw.size(1, 2), draw.one_of("SAME", "VALID")
    dilation = draw.one_of(1, 1, 2) if kernel > 1 and stride == 1 and not first else 1
    if padding == "VALID" and (kernel - 1) * dilation >= min(sizes):
        padding = "SAME"
    layout = "NCHW" if first else "NHWC"
    weights = np.resize(draw.values(4099), (kernel, kernel, inner, outputs * groups)).astype(np.float32)

    def network(x: Any) -> Any:
        x = draw.inner(tf.nn.relu(x))
        y = draw.inner(tf.nn.conv2d(x, weights, stride, padding, data_format=layout, dilations=dilation))
        return y + tf.reduce_mean(tf.nn.conv2d(x, weights, 1, "SAME", data_format=layout)) if draw.chance(0.1) else y

    return Pattern(shapes, [[channels, *sizes] if first else [*sizes, channels]], network)


def dilated(draw: Draw) -> Pattern:
    """Dilation as Keras and `tf.nn` write it out, by the batch, and some of the same round something else."""
    kernel, channels = draw.one_of(1, 2, 3, 3, 3), draw.size(1, 4)
    rates = [draw.size(1, 4)] * 2 if draw.chance(0.7) else [draw.size(1, 4), draw.size(1, 3)]
    sizes = [draw.size(13, 20), draw.size(13, 20)]
    shapes, sizes_of = of_items([*sizes, channels], draw, 0.03)
    depthwise = draw.chance(0.5)
    weights = draw.values(kernel, kernel, channels, draw.size(1, 3))
    same, other = draw.chance(0.6), draw.one_of(*["none"] * 9, "stride", "padding", "crop")
    spans = [(kernel - 1) * rate + 1 for rate in rates]
    before = [(span - 1) // 2 if same else 0 for span in spans]
    after = [span - 1 - (span - 1) // 2 if same else 0 for span in spans]
    if other == "padding":
        before = [width + 1 for width in before]
    whole = [size + sum(pads) for size, *pads in zip(sizes, before, after, strict=True)]
    more = [-size % rate for size, rate in zip(whole, rates, strict=True)]
    pads = [[first, last + extra] for first, last, extra in zip(before, after, more, strict=True)]
    crops = [[int(other == "crop"), extra] for extra in more]
    operation = tf.raw_ops.DepthwiseConv2dNative if depthwise else tf.raw_ops.Conv2D
    steps = [1, 2, 2, 1] if other == "stride" else [1, 1, 1, 1]

    def network(x: Any) -> Any:
        x = draw.inner(tf.nn.relu(x))
        spread = draw.inner(tf.space_to_batch_nd(x, rates, pads))
        y = draw.inner(operation(input=spread, filter=weights, strides=steps, padding="VALID"))
        if other == "stride":
            crops[:] = [[0, 0], [0, 0]]
        return draw.inner(tf.raw_ops.BatchToSpaceND(input=y, block_shape=rates, crops=crops)) * 2.0

    return Pattern(shapes, sizes_of, network)


def transposed(draw: Draw) -> Pattern:
    """Transposed convolutions, most of outputs that are not the stride times the input."""
    kernel, stride = draw.size(1, 5), draw.one_of(1, 2, 2, 2, 3, 4)
    channels, outputs = draw.size(1, 3), draw.size(1, 3)
    outer = [draw.size(5, 19), draw.size(5, 19)]
    same = draw.chance(0.85)
    made = [-(-size // stride) if same else (size - kernel) // stride + 1 for size in outer]
    if not same and min(made) < 1:
        same, made = True, [-(-size // stride) for size in outer]
    first = draw.chance(0.03)
    sizes = [channels, *made] if first else [*made, channels]
    shapes, sizes_of = of_items(sizes, draw, 0.05)
    weights = draw.values(kernel, kernel, outputs, channels)
    known, both = draw.chance(0.3), [outputs, *outer] if first else [*outer, outputs]

    def network(x: Any) -> Any:
        x = draw.inner(tf.nn.relu(x))
        sizes = outer if known and not first else tf.stack([tf.shape(x)[0], *both])
        layout, steps = ("NCHW", [1, 1, stride, stride]) if first else ("NHWC", [1, stride, stride, 1])
        y = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=sizes,
            filter=weights,
            out_backprop=x,
            strides=steps,
            padding="SAME" if same else "VALID",
            data_format=layout,
        )
        return draw.inner(draw.inner(tf.ensure_shape(y, [None, *both])) + 1.0)

    return Pattern(shapes, sizes_of, network)


def class_numbers(draw: Draw) -> Pattern:
    """`ArgMax` and `ArgMin`, most of them in int64."""
    sizes = [draw.size(1, 6) for _ in range(draw.size(1, 3))]
    shapes, sizes_of = of_items(sizes, draw, 0.3)
    operation, axis = draw.one_of(tf.argmax, tf.argmax, tf.argmin), draw.size(-len(sizes), len(sizes))
    kind = draw.one_of(tf.int64, tf.int64, tf.int64, tf.int64, tf.int32)

    def network(x: Any) -> Any:
        x = draw.inner(tf.nn.relu(x) + tf.cast(x > 2.0, tf.float32))
        found = operation(x, axis, kind)
        if draw.chance(0.1) and not draw.in_loop:
            draw.fetched.append(found.name)
        return draw.one_of(
            lambda: tf.cast(found, tf.float32),
            lambda: tf.cast(tf.one_hot(found, 6, dtype=tf.float32), tf.float32),
            lambda: tf.gather(tf.constant(draw.values(6)), found),
        )()

    return Pattern(shapes, sizes_of, network)


def quantization(draw: Draw) -> Pattern:
    """Training with quantization: weights and activations rounded to the steps of a range, of a network of any kind."""
    sizes, depth = [draw.size(5, 12), draw.size(5, 12), draw.size(1, 4)], draw.size(1, 4)
    shapes, sizes_of = of_items(sizes, draw, 0.2)
    shapes[0][-1] = sizes[-1]
    weights = draw.values(*[draw.one_of(1, 3)] * 2, sizes[-1], depth)
    times = draw.one_of(1, 1, 2)  # one behind the other, as of weights that are shared

    def rounded(x: Any, channels: int) -> Any:
        bits, narrow = draw.one_of(8, 8, 8, 4, 2, 12), draw.chance(0.3)
        least = draw.one_of(0.0, -0.2, -3.0, -1.7, -100.0)
        most = draw.one_of(6.0, 2.3, 1e-2, 250.0) if least == 0.0 or draw.chance(0.8) else 0.0
        options = {"num_bits": bits, "narrow_range": narrow}
        kind = draw.one_of("args", "vars", "vars", "each", "computed")
        if kind == "args":
            return tf.quantization.fake_quant_with_min_max_args(x, least, most, **options)
        if kind == "each":
            spread = draw.near_one(channels)
            return tf.quantization.fake_quant_with_min_max_vars_per_channel(
                x, least * spread - np.float32(0.1), most * spread, **options
            )
        ends = [tf.constant(end) for end in (least, most)]
        if kind == "computed" and draw.chance(0.3):
            ends = [tf.minimum(tf.reduce_min(x), 0.0), tf.maximum(tf.reduce_max(x), 0.1)]
        return tf.quantization.fake_quant_with_min_max_vars(x, *ends, **options)

    def network(x: Any) -> Any:
        x = draw.inner(rounded(x, sizes[-1])) if draw.chance(0.7) else x
        kernel = tf.constant(weights)
        for _ in range(times):
            kernel = draw.inner(rounded(kernel, depth)) if draw.chance(0.8) else kernel
        padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]) if draw.chance(0.2) else x
        x = draw.inner(tf.nn.conv2d(padded, kernel, 1, "VALID"))
        x = draw.one_of(tf.nn.relu, tf.nn.relu6, tf.identity)(x)
        y = draw.inner(rounded(x, depth))
        return y * 2.0 + tf.reduce_mean(rounded(y + 0.1, depth)) if draw.chance(0.3) else y

    return Pattern(shapes, sizes_of, network, draw.one_of(1.0, 30.0))


def nearest(draw: Draw) -> Pattern:
    """The nearest neighbour of pictures that become larger or smaller, by each of its rules."""
    sizes = [draw.size(3, 9), draw.size(3, 9), draw.size(1, 3)]
    shapes, sizes_of = of_items(sizes, draw, 0.3)
    factors = [draw.one_of(1, 2, 2, 3), draw.one_of(1, 2, 2, 4)]
    fixed = [draw.size(2, 20), draw.size(2, 20)] if draw.chance(0.5) else [sizes[0] * factors[0], sizes[1] * factors[1]]
    rule = draw.one_of("half", "half", "half", "corners", "old")
    computed = draw.chance(0.4)

    def network(x: Any) -> Any:
        x = draw.inner(tf.nn.relu(x))
        size = tf.shape(x)[1:3] * np.array(factors, np.int32) if computed else tf.constant(fixed)
        options = {"align_corners": rule == "corners", "half_pixel_centers": rule == "half"}
        return draw.inner(tf.raw_ops.ResizeNearestNeighbor(images=x, size=size, **options)) * 2.0

    return Pattern(shapes, sizes_of, network)


def explicit(draw: Draw) -> Pattern:
    """Convolutions that name their padding themselves, in every layout and with every step."""
    kernel, stride, channels = draw.size(1, 5), draw.size(1, 3), draw.size(1, 4)
    sizes = [draw.size(7, 15), draw.size(7, 15)]
    first, depthwise = draw.chance(0.06), draw.chance(0.35)
    inner = [draw.open(size) for size in sizes]
    shapes: list[Shape] = [[None, channels, *inner] if first else [None, *inner, channels]]
    pads = pads_for(sizes, kernel, stride, draw, 0.4)
    around = [(0, 0), (0, 0), *pads] if first else [(0, 0), *pads, (0, 0)]
    weights = draw.values(kernel, kernel, channels, draw.size(1, 3))
    named = draw.chance(0.9)
    options = {
        "strides": [1, 1, stride, stride] if first else [1, stride, stride, 1],
        "padding": "EXPLICIT" if named else "SAME",
        "explicit_paddings": [width for pair in around for width in pair] if named else [],
        "data_format": "NCHW" if first else "NHWC",
    }

    def network(x: Any) -> Any:
        operation = tf.raw_ops.DepthwiseConv2dNative if depthwise else tf.raw_ops.Conv2D
        return tf.nn.relu(draw.inner(operation(input=draw.inner(tf.nn.relu(x)), filter=weights, **options)))

    return Pattern(shapes, [[channels, *sizes] if first else [*sizes, channels]], network)


def decoding(draw: Draw) -> Pattern:
    """One item after the other, most of them decoded before something is done to them."""
    size = draw.size(2, 6)
    shapes, sizes_of = of_items([size], draw, 0.2)
    decodes, gain = draw.chance(0.85), draw.values(size)

    def network(x: Any) -> Any:
        def each(row: Any) -> Any:
            taken = tf.io.parse_tensor(tf.io.serialize_tensor(row), tf.float32) if decodes else row
            return tf.nn.relu(tf.ensure_shape(taken, [size]) * gain)

        return draw.inner(tf.map_fn(each, draw.inner(tf.nn.relu(x)))) + 1.0

    return Pattern(shapes, sizes_of, network)


PATTERNS: dict[str, Callable[[Draw], Pattern]] = {
    "fused normalization": fused_normalization,
    "spelled out normalization": spelled_out_normalization,
    "einsum": einsum,
    "reshape": reshape,
    "pooling": pooling,
    "convolution": convolution,
    "grouped convolution": grouped,
    "dilated convolution": dilated,
    "transposed convolution": transposed,
    "class numbers": class_numbers,
    "nearest neighbour": nearest,
    "explicit padding": explicit,
    "decoding": decoding,
    "quantization": quantization,
}
# Two of these in each round, for fewer of them have what is looked for, or there are more rewrites of them.
OFTEN = (
    "fused normalization",
    "pooling",
    "convolution",
    "grouped convolution",
    "transposed convolution",
    "nearest neighbour",
)
