# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""A rewrite that is wrong is told from rounding: each is broken here once, in the ways that it could be."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests import test_normalization, test_padding, test_pooling
from tests.graphs import frozen, rewritten
from tests.rounding import UNIT, assert_rounded_alike, relative_bound
from tftrt_runtime.convert.rewrites import einsum, normalization, padding, pooling, reshapes, scaled_rows, spelled_out
from tftrt_runtime.convert.rewrites.rewrite import Rewrite


def stem(**changes: Any) -> Any:
    return test_pooling.stem(**{**test_pooling.STEM, **changes})


def padded(**changes: Any) -> Any:
    return test_padding.padded(**{**test_padding.FIRST_LAYER, "size": 32, **changes})


def normalized() -> Any:
    layer = tf.keras.layers.LayerNormalization(epsilon=0.01)
    layer.build([None, 48])
    return frozen(layer, [None, 48])


def spelled() -> Any:
    def network(x: Any) -> Any:
        mean, variance = tf.nn.moments(x, [1], keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, tf.ones(48), tf.ones(48), 0.01)

    return frozen(network, [None, 48])


def attention() -> Any:
    return frozen(lambda x, y: tf.einsum("acbe,aecd->abcd", x, y), [3, 3, 3, 3], [3, 3, 3, 3])


def reshaped() -> Any:
    return frozen(lambda x: tf.keras.layers.Reshape((2, 12))(x) + 1.0, [None, 4, 6])


def padded_at_the_front(kernel: Any, widths: Any) -> Any:
    return np.pad(kernel, [(after, before) for before, after in widths])


TRANSPOSE = einsum._transpose


def transposed_otherwise(graph: Any, node: Any, tensor: str, labels: str, wanted: str) -> None:
    TRANSPOSE(graph, node, tensor, labels, wanted[0] + wanted[:0:-1])


@pytest.mark.parametrize(
    ("network", "rewrite", "module", "part", "wrong", "terms"),
    [
        pytest.param(
            stem,
            pooling.FOLDED,
            pooling,
            "np",
            SimpleNamespace(pad=padded_at_the_front),
            test_pooling.TERMS,
            id="pooling: the first row is left out in place of the last",
        ),
        pytest.param(
            lambda: stem(activation=tf.nn.elu),
            pooling.FOLDED,
            pooling,
            "NOT_NEGATIVE",
            {"Elu"},
            test_pooling.TERMS,
            id="pooling: zeros that are larger than what they surround",
        ),
        pytest.param(
            lambda: padded(pads=((3, 2), (2, 3))),
            padding.SAME,
            padding,
            "is_same",
            lambda *_: True,
            147,
            id="padding: an element before that belongs behind",
        ),
        pytest.param(
            padded,
            padding.MOVED,
            padding,
            "np",
            SimpleNamespace(zeros=lambda shape, *dtype: np.full(shape, int(shape != ()), *dtype)),
            147,
            id="padding: a bias that is not zero",
        ),
        pytest.param(
            normalized,
            normalization.FUSED,
            scaled_rows,
            "math",
            SimpleNamespace(sqrt=float),
            test_normalization.terms(48),
            id="normalization: epsilon in place of its root",
        ),
        pytest.param(
            spelled,
            spelled_out.SPELLED_OUT,
            scaled_rows,
            "math",
            SimpleNamespace(sqrt=float),
            test_normalization.terms(48),
            id="spelled out normalization: epsilon in place of its root",
        ),
        pytest.param(
            attention,
            einsum.PRODUCTS,
            einsum,
            "_transpose",
            transposed_otherwise,
            4,
            id="einsum: axes in another order",
        ),
        pytest.param(
            reshaped, reshapes.CLOSED, reshapes, "_inner", lambda *_: [12, 2], 1, id="reshapes: sizes in another order"
        ),
    ],
)
def test_a_wrong_rewrite_is_no_rounding(
    network: Callable[[], Any],
    rewrite: Rewrite[Any],
    module: Any,
    part: str,
    wrong: Any,
    terms: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    function = network()
    random = np.random.default_rng(9)
    shapes = [[size or 3 for size in tensor.shape] for tensor in function.inputs]
    asked = [tf.constant(random.normal(5, 3, shape).astype(np.float32)) for shape in shapes]
    expected = function(*asked)[0].numpy()
    _, right = rewritten(function, rewrite)
    assert_rounded_alike(right(*asked)[0].numpy(), expected, terms)
    monkeypatch.setattr(module, part, wrong)
    _, other = rewritten(function, rewrite)
    with pytest.raises(AssertionError):
        assert_rounded_alike(other(*asked)[0].numpy(), expected, terms)


def test_sums_in_another_order_differ_by_less_than_the_bound() -> None:
    terms = np.random.default_rng(1).normal(size=(1000, 147)).astype(np.float32)
    one, other = np.zeros(1000, np.float32), np.zeros(1000, np.float32)
    for column in range(147):
        one += terms[:, column]
        other += terms[:, -1 - column]
    assert not np.array_equal(one, other)
    assert_rounded_alike(one, other, 147)


def test_the_bound_is_of_the_largest_value_and_grows_with_the_root_of_the_terms() -> None:
    assert relative_bound(4) == 2 * relative_bound(1) == 16 * UNIT
    expected = np.array([8.0, 0.0], np.float32)
    assert_rounded_alike(expected + np.float32(8 * 8 * UNIT), expected, 1)
    with pytest.raises(AssertionError):
        assert_rounded_alike(expected + np.float32(8 * 12 * UNIT), expected, 1)


@pytest.mark.parametrize("found", [np.ones(3, np.float64), np.ones((1, 3), np.float32), np.full(3, np.nan, np.float32)])
def test_other_types_shapes_and_what_is_no_number_are_no_rounding(found: Any) -> None:
    with pytest.raises(AssertionError):
        assert_rounded_alike(found, np.ones(3, np.float32), 10**6)
