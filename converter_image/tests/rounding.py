"""How far two answers in FP32 may lie apart that differ by rounding alone.

Two networks that compute the same need not round alike: which kernel TensorFlow takes, in what order that adds, and
whether it multiplies and adds in one step depend on the processor, on oneDNN and on the number of threads.

A sum of n terms has some n roundings, each of at most u = 2 ** -24 of what is rounded. They point in either direction,
so that together they stay below l * sqrt(n) * u but for a probability of 2 * exp(-l ** 2 / 2): Higham and Mary, "A new
approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41 (2019), theorem 2.4. That is with each of
them as large as it can be; rounding to nearest has a deviation of u / sqrt(3) at most, of which l = 4 is seven times as
much. Both answers round.
What is added has both signs here, and is no larger than what the network answers: the bound is relative to the largest
value of the answer.

Equal bits are asked for only where nothing is rounded (small whole numbers, data that only moves), or where IEEE 754
leaves one result (a single sum of two, a comparison), or where the same kernel is given the same bytes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

UNIT = 2.0**-24  # of FP32
DEVIATIONS = 4.0  # l


def relative_bound(terms: int) -> float:
    """What two answers may differ by, relative to the largest, each with `terms` roundings one after the other."""
    return 2 * DEVIATIONS * math.sqrt(terms) * UNIT


def assert_rounded_alike(found: Any, expected: Any, terms: int) -> None:
    """Assert that both are the same but for `terms` roundings one after the other in each of them.

    For layers one after the other, it is the sum of their terms.

    Raises:
        AssertionError: shapes or types differ, or a value by more than the bound.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    largest = np.max(np.abs(expected), initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=relative_bound(terms) * largest)


# The models of `models.py` whose answers are rounded more than once: the terms of all their layers, some twenty
# operations for each softmax or gate of a recurrent layer.
TERMS = {
    # A convolution, a batch normalization, a mean of 14 x 14, a dense layer, a softmax.
    "cnn": 3 * 3 * 3 + 4 + 14 * 14 + 8 + 20,
    # The first layer; of each block convolutions over 4c, 9c and c channels; a mean, a dense layer, a softmax.
    "resnet50": 7 * 7 * 3 + 14 * (3 * 64 + 4 * 128 + 6 * 256 + 3 * 512) + 7 * 7 + 2048 + 20,
    # Seven steps of a recurrent layer over 6 and 8 values; a dense layer, a softmax.
    "keras": 7 * (6 + 8 + 20) + 8 + 3 + 20,
    # A mean of 3, a dense layer, a softmax.
    "vocabulary": 3 + 16 + 20,
    "tensorflow1": 4 + 1,
}
