# mypy: disable-error-code="no-untyped-call,misc,untyped-decorator"
"""What is asked of the unconverted model, and what of its answers is kept to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.test_shapes import given
from tftrt_runtime.contract.artifact import Sample, Tensor
from tftrt_runtime.contract.errors import NothingConvertible, SignatureNotFound
from tftrt_runtime.verification import reference
from tftrt_runtime.verification.messages import REFERENCE, ComparisonData, ReferenceRequest

X = Tensor(name="x", dtype="FP32", shape=(-1, -1))


def request(folder: Path, **changes: Any) -> ReferenceRequest:
    asked: dict[str, Any] = {
        "uri": "pvc://models/m",
        "source": "s",
        "signature": "s",
        "tensorflow": tf.__version__,
        "batch_sizes": (1, 4),
        "input_shapes": {"x": given(1, 2, 8)},
        "references": str(folder),
        "data": None,
        "events": "e",
    }
    return ReferenceRequest(**{**asked, **changes})


@tf.function
def double(x: Any) -> dict[str, Any]:
    return {"y": x * 2.0}


def samples(*lengths: int) -> tuple[Sample, ...]:
    return tuple(Sample(shapes={"x": (length,)}) for length in lengths)


def test_what_engines_cannot_be_made_of_is_refused_before_it_is_asked(tmp_path: Path, models: Path) -> None:
    asked = request(
        tmp_path, source=str(models / "counter"), signature="serving_default", input_shapes={}, engines=True
    )
    with pytest.raises(NothingConvertible, match="cannot be frozen for TensorRT: it changes its state"):
        reference.ask(asked)
    assert not list(tmp_path.iterdir())


def test_made_up_input_is_asked_at_every_batch_size_and_every_shape(tmp_path: Path) -> None:
    asked = reference._ask(double, (X,), samples(1, 2, 8), request(tmp_path))
    assert asked is not None
    assert asked.compared == 12
    answers = [np.load(tmp_path / REFERENCE.format(number))["output0"] for number in range(12)]
    assert [answer.shape for answer in answers[:6]] == [(1, 1), (1, 2), (1, 8)] * 2
    assert [answer.shape for answer in answers[6:]] == [(4, 1), (4, 2), (4, 8)] * 2
    for first in (0, 1, 2, 6, 7, 8):
        np.testing.assert_allclose(answers[first + 3], 255 * answers[first], rtol=1e-6)


def kept(folder: Path, function: Any) -> list[int]:
    """The numbers of the batches whose answers were kept; the odd ones are of larger input."""
    assert reference._ask(function, (X,), samples(2), request(folder)) is not None
    return [number for number in range(4) if (folder / REFERENCE.format(number)).exists()]


def test_larger_input_that_the_model_does_not_take_is_left_out(tmp_path: Path) -> None:
    @tf.function
    def shares(x: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.debugging.assert_less(x, 1.0, message="x is no share")]):
            return {"y": x * 2.0}

    assert kept(tmp_path, shares) == [0, 2]


def test_larger_input_at_which_the_model_itself_overflows_is_left_out(tmp_path: Path) -> None:
    @tf.function
    def powers(x: Any) -> dict[str, Any]:
        masked = tf.where(x[:, :1] >= 0.0, -np.inf * tf.ones_like(x[:, :1]), 0.0)
        return {"y": tf.exp(80.0 * x), "masked": masked}

    assert kept(tmp_path, powers) == [0, 2]


def test_what_was_calibrated_is_asked_at_the_usual_size_alone(tmp_path: Path) -> None:
    asked = reference._ask(double, (X,), samples(1, 8), request(tmp_path, larger_too=False))
    assert asked is not None
    assert asked.compared == 4


def test_values_that_are_never_finite_are_no_reason_to_leave_larger_input_out(tmp_path: Path) -> None:
    @tf.function
    def masked(x: Any) -> dict[str, Any]:
        return {"y": tf.concat([x, -np.inf * tf.ones_like(x)], 1)}

    assert kept(tmp_path, masked) == [0, 1, 2, 3]


def test_every_batch_size_has_its_share_of_the_room_for_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The small sizes come first, and once took all of it."""
    np.savez(tmp_path / "samples.npz", x=np.ones((12, 2), np.float32))
    data = ComparisonData(uri="pvc://data", folder=str(tmp_path))
    monkeypatch.setattr(reference, "MAX_REFERENCE_BYTES", 2 * 64)  # a size has as much as 8 samples
    asked = reference._ask(double, (X,), (), request(tmp_path, data=data))
    assert asked is not None
    assert asked.compared == 8 + 2
    assert [number for number in range(15) if (tmp_path / REFERENCE.format(number)).exists()] == [*range(8), 12, 13]


def test_a_shape_that_the_model_does_not_take_is_told(tmp_path: Path) -> None:
    @tf.function
    def wide(x: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.debugging.assert_greater(tf.shape(x)[1], 1, message="x is too short")]):
            return {"y": x * 2.0}

    told = r"'x' \[1, 1\], the batch first: InvalidArgumentError.*Set spec.conversion.inputShapes"
    with pytest.raises(SignatureNotFound, match=told):
        reference._ask(wide, (X,), samples(1, 2, 8), request(tmp_path))


def test_a_model_that_draws_random_numbers_has_nothing_to_compare_with(tmp_path: Path) -> None:
    @tf.function
    def noise(x: Any) -> dict[str, Any]:
        return {"y": x + tf.random.normal(tf.shape(x))}

    assert reference._ask(noise, (X,), samples(2), request(tmp_path)) is None


def test_the_outputs_that_are_numbers_for_every_shape_must_be_so_after_conversion(tmp_path: Path) -> None:
    @tf.function
    def logarithms(x: Any) -> dict[str, Any]:
        length = tf.cast(tf.shape(x)[1], tf.float32)
        return {"any": x, "masked": x - 1.0 / (length - 1.0), "whole": tf.cast(x, tf.int32)}

    assert reference._finite(logarithms, (X,), samples(2, 8), request(tmp_path)) == ("any", "masked")
    assert reference._finite(logarithms, (X,), samples(1, 2, 8), request(tmp_path)) == ("any",)
