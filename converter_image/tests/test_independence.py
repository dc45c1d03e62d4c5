# mypy: disable-error-code="no-untyped-call"
"""Whether the conversion sees that a model's items depend on each other, and does not see it where they do not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests import interacting
from tftrt_runtime.contract.artifact import Batching
from tftrt_runtime.verification import independence, reference
from tftrt_runtime.verification.messages import ComparisonData, ReferenceRequest

Function = Callable[..., dict[str, Any]]


def found(
    model: Path,
    folder: Path,
    data: ComparisonData | None = None,
    batch_sizes: Sequence[int] = (1, 8),
    signature: str = "serving_default",
    calibration: ComparisonData | None = None,
) -> Batching | None:
    """What the conversion finds of this SavedModel."""
    request = ReferenceRequest(
        uri="pvc://models/m",
        source=str(model),
        signature=signature,
        tensorflow=tf.__version__,
        batch_sizes=tuple(batch_sizes),
        input_shapes={},
        references=str(folder),
        data=data,
        calibration=calibration,
        events=str(folder / "events"),
    )
    return reference.ask(request)[1].batching


def given(folder: Path, **arrays: Any) -> ComparisonData:
    folder.mkdir()
    np.savez(folder / "samples.npz", **arrays)
    return ComparisonData(uri="pvc://data/held-out", folder=str(folder))


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (interacting.centered, "depends on the items beside it: output 'y' differs by"),
        (interacting.training, "depends on the items beside it: output 'y' differs by"),
        (interacting.best, "depends on the items beside it: output 'best' differs"),
        (interacting.running, "depends on the items beside it: output 'total' differs by"),
        (interacting.similarity, "depends on the items beside it: output 'scores' differs"),
        (interacting.share, "depends on how many are beside it: output 'y' differs by"),
        (interacting.numbered, "depends on its place in the batch: output 'y' differs by"),
        (interacting.sized, "does not take 1 of the items that it takes in a batch: InvalidArgumentError"),
        (interacting.squeezed, r"output 'y' has the shape \[4\] for an item alone"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_items_that_see_each_other_are_kept_apart(tmp_path: Path, function: Function, told: str) -> None:
    batching = found(interacting.save(tmp_path, function), tmp_path, batch_sizes=(4, 8))
    assert batching is not None
    assert (batching.mode, batching.reason) == ("Disabled", "ItemsInteract")
    assert re.search(rf"^on made-up input, .*{told}", batching.message), batching.message


def test_a_text_that_is_as_long_as_the_longest_of_its_batch_is_kept_apart(tmp_path: Path) -> None:
    words = np.array([["a"], ["much longer"], ["short"]])
    batching = found(interacting.save(tmp_path, interacting.padded), tmp_path, given(tmp_path / "data", words=words))
    assert batching is not None
    assert batching.reason == "ItemsInteract"
    assert "output 'letters' differs" in batching.message


@pytest.mark.parametrize("name", ["cnn", "resnet50", "keras", "vocabulary", "table", "two", "tensorflow1"])
def test_honest_models_are_put_together(models: Path, tmp_path: Path, name: str) -> None:
    signature = "serve" if name in {"cnn", "resnet50"} else "serving_default"
    batching = found(models / name, tmp_path, signature=signature)
    assert batching is not None
    assert (batching.mode, batching.reason) == ("Dynamic", "ItemsIndependent")
    assert batching.message == "8 samples of made-up input are answered alike in a batch, alone and in another order"


def test_half_precision_rounds_more_and_is_no_reason(tmp_path: Path) -> None:
    batching = found(interacting.save(tmp_path, interacting.half), tmp_path, batch_sizes=(1, 64))
    assert batching is not None
    assert batching.reason == "ItemsIndependent"


OVERLAPPING = 37  # and the one before it


def rows() -> Any:
    """Boxes side by side, two of which nearly cover each other: neither the first nor the last, the smaller second."""
    x = np.arange(64, dtype=np.float32)
    made = np.stack([x, x, x + 0.9, x + 0.9], axis=1)
    made[OVERLAPPING] = made[OVERLAPPING - 1] + np.array([0.1, 0.1, 0.0, 0.0], np.float32)
    return made


@pytest.mark.parametrize("largest", [8, 64])
def test_two_items_of_many_that_see_each_other_are_found_on_the_users_samples(tmp_path: Path, largest: int) -> None:
    """Made-up boxes are none, and of the user's only a pair overlaps."""
    model = interacting.save(tmp_path, interacting.boxes)
    data = given(tmp_path / "data", x=rows())
    for verification, calibration in ((data, None), (None, data)):
        batching = found(model, tmp_path, verification, (1, largest), calibration=calibration)
        assert batching is not None
        assert batching.reason == "ItemsInteract"
        assert batching.message.startswith("on pvc://data/held-out, an item's answer depends on the items beside it")


def test_the_first_of_two_equal_items_is_known_by_the_other(tmp_path: Path) -> None:
    x = np.random.default_rng(3).random((16, 4)).astype(np.float32)
    model = interacting.save(tmp_path, interacting.distinct)
    apart = found(model, tmp_path, given(tmp_path / "apart", x=x), (1, 16))
    x[12] = x[5]
    equal = found(model, tmp_path, given(tmp_path / "equal", x=x), (1, 16))
    assert apart is not None
    assert apart.reason == "ItemsIndependent", "of samples that differ nothing shows"
    assert equal is not None
    assert equal.reason == "ItemsInteract"


def test_fewer_samples_than_the_largest_batch_are_asked_as_they_are(tmp_path: Path) -> None:
    data = given(tmp_path / "data", x=np.random.default_rng(3).random((3, 4)).astype(np.float32))
    batching = found(interacting.save(tmp_path, interacting.centered), tmp_path, data, (1, 8))
    assert batching is not None
    assert batching.message.startswith("on pvc://data/held-out, an item's answer")


def test_a_single_sample_says_nothing_and_made_up_input_is_asked(tmp_path: Path) -> None:
    data = given(tmp_path / "data", x=np.ones((1, 4), np.float32))
    batching = found(interacting.save(tmp_path, interacting.centered), tmp_path, data, (1, 8))
    assert batching is not None
    assert batching.reason == "ItemsInteract"


def test_batches_of_one_leave_nothing_to_see(tmp_path: Path) -> None:
    assert found(interacting.save(tmp_path, interacting.centered), tmp_path, batch_sizes=(1,)) is None


def test_a_model_that_cannot_be_looked_at_is_kept_apart(tmp_path: Path) -> None:
    def noise(x: Any) -> dict[str, Any]:
        return {"y": x + tf.random.normal(tf.shape(x))}

    batching = found(interacting.save(tmp_path, noise), tmp_path)
    assert batching is not None
    assert (batching.mode, batching.reason) == ("Disabled", "NotChecked")
    assert "answers differently each time: export it without layers that draw random numbers" in batching.message
    assert "spec.verification.dataUri" not in batching.message, "samples of the user's own change nothing"


def classes(rounded: int, size: int = 16) -> Batching:
    """Of a model that says an item's class; of so many items it is another one where they are asked alone."""

    def ask(batch: Any) -> Any:
        items = batch["x"][:, 0]
        return {"class": np.where((len(items) == 1) & (items < rounded), -1, items)}

    return independence.judge(ask, [{"x": np.arange(size)[:, None]}], independence.TOLERANCE, "samples")


def test_a_class_that_rounding_changes_here_and_there_is_no_reason() -> None:
    """Each batch size has kernels of its own, and two classes may be as likely as each other."""
    assert classes(rounded=3).reason == "ItemsIndependent"


def test_most_classes_are_not_changed_by_rounding() -> None:
    found = classes(rounded=8)
    assert found.reason == "ItemsInteract"
    assert "depends on how many are beside it: output 'class' differs" in found.message


def pictures(elements: int, others: int, seen: bool = False) -> Batching:
    """Of a model that answers with pictures, so many elements of which are a step off in an item that is asked alone.

    Where others are `seen`, they are so beside the last item instead.
    """

    def ask(batch: Any) -> Any:
        made = np.repeat(batch["x"], elements, axis=1).astype(np.uint8)
        if made.max() > 6 if seen else len(made) == 1:
            made[:, :others] += 1
        return {"picture": made}

    return independence.judge(ask, [{"x": np.arange(8)[:, None]}], independence.TOLERANCE, "samples")


def test_a_pixel_here_and_there_of_every_picture_is_rounding() -> None:
    assert pictures(elements=4000, others=4).reason == "ItemsIndependent"
    assert pictures(elements=4000, others=5).reason == "ItemsInteract"
    assert pictures(elements=500, others=1).reason == "ItemsInteract"


def test_a_single_pixel_that_others_change_is_none() -> None:
    found = pictures(elements=4000, others=1, seen=True)
    assert found.reason == "ItemsInteract"
    assert "depends on the items beside it: output 'picture' differs" in found.message


@pytest.mark.parametrize("name", ["scores\x1b[31m\n" * 100, "得分" * 100])
def test_what_is_told_fits_what_the_operator_takes(name: str) -> None:

    def ask(batch: Any) -> Any:
        return {name: batch["x"] - batch["x"].mean(axis=0)}

    batch: dict[str, Any] = {"x": np.arange(8.0)[:, None]}
    message = independence.judge(ask, [batch], independence.TOLERANCE, "https://data.example/" + "x" * 3000).message
    assert len(json.dumps(message)) <= independence.MOST_MESSAGE
    assert message.isprintable()
    assert message.startswith("on https://data.example/")


def test_of_a_very_large_batch_the_first_the_last_and_some_others_are_asked_alone() -> None:
    asked: list[tuple[int, int]] = []

    def ask(batch: Any) -> Any:
        asked.append((len(batch["x"]), int(batch["x"][0, 0])))
        return {"y": batch["x"] * 2}

    found = independence.judge(ask, [{"x": np.arange(4096)[:, None]}], independence.TOLERANCE, "samples")
    alone = [item for size, item in asked if size == 1]
    assert found.reason == "ItemsIndependent"
    assert len(alone) == independence.MOST_ALONE
    assert (alone[0], alone[-1]) == (0, 4095)
