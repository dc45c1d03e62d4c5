"""What `inputShapes` may say of a signature, and the inputs that come of it."""

from __future__ import annotations

import numpy as np
import pytest

from tftrt_runtime.contract.artifact import Part, Sample, Tensor
from tftrt_runtime.contract.errors import CalibrationDataUnfit, SignatureNotFound
from tftrt_runtime.contract.spec import ShapeRange
from tftrt_runtime.model import samples, shapes
from tftrt_runtime.model.dtypes import numpy_type

IDS = Tensor(name="input_ids", dtype="INT32", shape=(-1, -1))
IMAGE = Tensor(name="image", dtype="FP32", shape=(-1, -1, -1, 3))
URI = "pvc://models/bert"


def given(*sizes: int) -> ShapeRange:
    """The same number of sizes for min, opt and max."""
    third = len(sizes) // 3
    return ShapeRange(min=sizes[:third], opt=sizes[third : 2 * third], max=sizes[2 * third :])


def test_a_name_that_is_no_input_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(SignatureNotFound, match=r"'input_id', which is no input of .*: did you mean 'input_ids'"):
        shapes.expect_fit([IDS], {"input_id": given(1, 8, 16)}, URI)


@pytest.mark.parametrize("sizes", [(8, 8), (8, 8, 1)])
def test_another_rank_or_another_fixed_size_is_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(SignatureNotFound, match=r"has \[any, any, 3\]: give a size for each"):
        shapes.expect_fit([IMAGE], {"image": given(*sizes, *sizes, *sizes)}, URI)


def test_open_dimensions_must_be_given_where_engines_are_built() -> None:
    with pytest.raises(SignatureNotFound, match=r"Input 'input_ids' .* set spec.conversion.inputShapes"):
        shapes.expect_closed([IDS], {}, URI)
    shapes.expect_closed([IDS], {"input_ids": given(1, 8, 16)}, URI)


def test_made_up_input_has_the_usual_sizes_and_guesses_the_rest() -> None:
    sample = shapes.usual([IDS, IMAGE], {"input_ids": given(1, 8, 16)}, open_dimension=32)
    made = samples.batch([IDS, IMAGE], 2, sample)
    assert made["input_ids"].shape == (2, 8)
    assert made["image"].shape == (2, 32, 32, 3)


def test_sizes_that_are_the_same_are_one_sample() -> None:
    sizes = {"input_ids": given(1, 16, 16)}
    usual = shapes.usual([IDS, IMAGE], sizes, open_dimension=32)
    assert [one.shapes for one in shapes.distinct(usual, sizes)] == [
        {"input_ids": (1,), "image": (32, 32, 3)},
        {"input_ids": (16,), "image": (32, 32, 3)},
    ]


@pytest.mark.parametrize(
    ("strategy", "length", "told"),
    [
        (None, 17, r"'input_ids' have shape \[17\], outside of spec.conversion.inputShapes, \[1\] to \[16\]"),
        ("Range+Optimal", 0, "outside of"),
        (
            "Optimal",
            5,
            r"'input_ids' \[5\].* take exactly 'input_ids' \[1\] or 'input_ids' \[8\] or 'input_ids' \[16\]",
        ),
        ("Optimal", 17, "take exactly"),
    ],
)
def test_data_of_a_shape_without_an_engine_is_refused(strategy: str | None, length: int, told: str) -> None:
    batch: samples.Batch = {"input_ids": np.zeros((2, length), np.int32)}
    with pytest.raises(CalibrationDataUnfit, match=told):
        shapes.expect_in_range(batch, {"input_ids": given(1, 8, 16)}, strategy, "Verification")


@pytest.mark.parametrize(("strategy", "length"), [(None, 5), ("Range", 16), ("Optimal", 8), ("Optimal", 16)])
def test_data_of_a_shape_with_an_engine_is_taken(strategy: str | None, length: int) -> None:
    batch: samples.Batch = {"input_ids": np.zeros((2, length), np.int32)}
    shapes.expect_in_range(batch, {"input_ids": given(1, 8, 16)}, strategy, "Verification")


def test_samples_of_artifacts_without_shapes_are_still_read() -> None:
    made = samples.batch([IDS], 2, Sample.model_validate({"openDimension": 5}))
    assert made["input_ids"].shape == (2, 5)


def test_shapes_without_batches_are_whole_and_may_leave_out_what_stands_in_front() -> None:
    picture = Tensor(name="image", dtype="FP32", shape=(1, -1, -1, 3))
    values = Tensor(name="values", dtype="FP32", shape=(-1,))
    whole = {"image": given(*(1, 8, 8, 3) * 3), "values": given(1, 8, 64)}
    assert shapes.of_calls([picture, values], whole) == whole
    assert shapes.of_calls([picture], {"image": given(*(8, 8, 3) * 3)}) == {"image": whole["image"]}
    assert shapes.of_calls([IMAGE], {"image": given(*(8, 8, 3) * 3)}) == {"image": whole["image"]}
    shapes.expect_fit([picture, values], whole, URI, batched=False)
    with pytest.raises(SignatureNotFound, match=r"has \[1, any, any, 3\]: give a size for each of these dimensions\."):
        shapes.expect_fit([picture], {"image": given(*(2, 8, 8, 3) * 3)}, URI, batched=False)
    with pytest.raises(SignatureNotFound, match=r"has open dimensions, \[1, any, any, 3\]"):
        shapes.expect_closed([picture], {}, URI, batched=False)
    with pytest.raises(CalibrationDataUnfit, match="outside of"):
        shapes.expect_in_range({"values": np.zeros(65)}, {"values": whole["values"]}, None, "Own", batched=False)


def test_rows_and_places_are_made_up_so_that_they_fit_the_values() -> None:
    names = ("values", "inner", "outer")
    inputs = [Tensor(name=name, dtype="INT64", shape=(-1,)) for name in names]
    parts = {"inner": Part(kind="Rows", of="values"), "outer": Part(kind="Rows", of="inner")}
    rows = Sample(shapes={"values": (8,), "inner": (5,), "outer": (3,)}, batched=False, parts=parts)
    made = samples.batch(inputs, 1, rows)
    assert made["inner"].tolist() == [0, 2, 4, 6, 8]
    assert made["outer"].tolist() == [0, 2, 4]
    sparse = {"places": Part(kind="Places", within=(2, 20)), "sizes": Part(kind="Sizes", within=(2, 20))}
    inputs = [Tensor(name="places", dtype="INT64", shape=(-1, 2)), Tensor(name="sizes", dtype="INT64", shape=(2,))]
    made = samples.batch(inputs, 1, Sample(shapes={"places": (2, 2), "sizes": (2,)}, batched=False, parts=sparse))
    assert made["places"].tolist() == [[0, 0], [1, 19]]
    assert made["sizes"].tolist() == [2, 20]


def test_a_scalar_is_made_up_as_an_array() -> None:
    inputs = [Tensor(name=kind, dtype=kind, shape=()) for kind in ("FP32", "INT64", "BOOL", "BYTES", "UINT8")]
    for name, value in samples.batch(inputs, 1, samples.sample(inputs, 1, {}, batched=False)).items():
        assert (value.shape, value.dtype) == ((), numpy_type(name))
