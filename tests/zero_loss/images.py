"""What is asked, and what is the right answer: the model `totals` of `tests/e2e/make_models.py`."""

import numpy as np

from tests.zero_loss.clients import Images, Totals

SIZE = 224
STEP = 8
"""Of rows and columns, the model looks at one in so many, so that it is the request that costs, and not the model."""


def images(rows: int, seed: int) -> Images:
    """A batch [rows, 224, 224, 3] of 150,528 bytes each."""
    return np.random.default_rng(seed).integers(0, 256, (rows, SIZE, SIZE, 3), np.uint8)


def totals(asked: Images) -> Totals:
    """The sum of each channel [rows, 3]: whole numbers below 2 ** 24, which FP32 adds up exactly in any order."""
    found: Totals = asked[:, ::STEP, ::STEP].sum(axis=(1, 2), dtype=np.int64).astype(np.float32)
    return found
