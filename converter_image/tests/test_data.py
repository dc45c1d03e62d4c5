# mypy: disable-error-code="no-untyped-call"
"""Which files of samples become which batches, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.contract.errors import CalibrationDataUnfit
from tftrt_runtime.model import data

IMAGE = Tensor(name="image", dtype="FP32", shape=(-1, 2, 3))
IDS = Tensor(name="ids", dtype="INT32", shape=(-1, -1))
WORDS = Tensor(name="words", dtype="BYTES", shape=(-1,))
MASK = Tensor(name="mask", dtype="BOOL", shape=(-1, 2))


def images(count: int, start: int = 0) -> Any:
    """Samples of which each holds its own number."""
    return np.arange(start, start + count, dtype=np.float32)[:, None, None] * np.ones((1, 2, 3), np.float32)


def example(**features: Any) -> bytes:
    made = {}
    for name, value in features.items():
        kind = value if isinstance(value, list) else [value]
        if isinstance(kind[0], bytes):
            made[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=kind))
        elif isinstance(kind[0], float):
            made[name] = tf.train.Feature(float_list=tf.train.FloatList(value=kind))
        else:
            made[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=kind))
    text: bytes = tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()
    return text


def write(file: Path, *examples: bytes) -> None:
    with tf.io.TFRecordWriter(str(file)) as writer:
        for text in examples:
            writer.write(text)


def refusal(folder: Path, *inputs: Tensor, batch_size: int = 1) -> str:
    with pytest.raises(CalibrationDataUnfit) as refused:
        list(data.batches(folder, inputs, batch_size))
    return str(refused.value)


def firsts(batches: list[Any]) -> list[list[float]]:
    return [batch["image"][:, 0, 0].tolist() for batch in batches]


def test_files_are_read_in_the_order_of_their_paths_and_batches_run_across_them(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", images(2, start=3))
    np.save(tmp_path / "a.npy", images(3))
    (tmp_path / "c").mkdir()
    np.savez(tmp_path / "c/last.npz", image=images(2, start=5), label=np.zeros(9))
    (tmp_path / "README.md").write_text("Not samples.")
    found = list(data.batches(tmp_path, [IMAGE], 2))
    assert firsts(found) == [[0, 1], [2, 3], [4, 5]]  # the seventh sample makes no batch
    assert all(batch["image"].dtype == np.float32 for batch in found)


def test_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", images(9))
    assert firsts(list(data.batches(tmp_path, [IMAGE], 2, limit=5))) == [[0, 1], [2, 3]]


def test_several_inputs_are_found_by_their_names(tmp_path: Path) -> None:
    ids = np.arange(12, dtype=np.int32).reshape(4, 3)
    np.savez(tmp_path / "a.npz", words=np.array(["ä", "b", "c", "d"]), ids=ids, other=np.zeros(1))
    (batch,) = data.batches(tmp_path, [IDS, WORDS], 4)
    np.testing.assert_array_equal(batch["ids"], ids)
    assert batch["words"].tolist() == ["ä".encode(), b"b", b"c", b"d"]


def test_an_only_array_is_a_single_inputs_whatever_its_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", arr_0=images(1))
    assert firsts(list(data.batches(tmp_path, [IMAGE], 1))) == [[0]]


def test_tfrecords_hold_lists_texts_and_raw_bytes(tmp_path: Path) -> None:
    raw = images(1, start=7).tobytes()
    features = {"image": raw, "ids": [5, 6, 7], "words": b"one", "mask": [0, 1], "label": 3}
    write(tmp_path / "x.tfrecord-00000-of-00002", example(**features))
    write(tmp_path / "x.tfrecord-00001-of-00002", example(**{**features, "image": [8.0] * 6}))
    (batch,) = data.batches(tmp_path, [IMAGE, IDS, WORDS, MASK], 2)
    assert batch["image"][:, 1, 2].tolist() == [7, 8]
    assert batch["ids"].tolist() == [[5, 6, 7]] * 2
    assert batch["words"].tolist() == [b"one"] * 2
    assert batch["mask"].tolist() == [[False, True]] * 2
    assert {name: array.dtype for name, array in batch.items()} == {
        "image": np.float32, "ids": np.int32, "words": np.object_, "mask": np.bool_
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"picture": images(1), "label": images(1)}, "has nothing for the input 'image': it has 'label', 'picture'"),
        ({"image": images(1).astype(np.float64)}, "are float64, and it takes float32"),
        ({"image": np.zeros((2, 3), np.float32)}, "a first dimension that counts the samples"),
        ({"image": np.zeros((1, 3, 2), np.float32)}, "have shape [3, 2], and it takes [2, 3]"),
        ({"image": np.full((1, 2, 3), np.nan, np.float32)}, "not finite"),
        ({"image": np.array([{}])}, "cannot be read as numpy arrays"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_file_and_input(
    tmp_path: Path, arrays: dict[str, Any], told: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    said = refusal(tmp_path, IMAGE)
    assert told in said
    assert "a.npz in the calibration data" in said


@pytest.mark.parametrize(
    ("tensor", "value", "told"),
    [
        (IMAGE, [1.0] * 5, "has 5 values, and it takes [2, 3]"),
        (IMAGE, [1] * 6, "has a int64 list"),
        (IMAGE, b"\xff\xd8 picture", "decode pictures before you write them"),
        (IDS, [1 << 40], "none that int32 can hold"),
        (WORDS, [1], "which takes BYTES"),
        (Tensor(name="open", dtype="FP32", shape=(-1, -1, -1)), [1.0], "give the samples as .npz"),
    ],
)
def test_features_that_do_not_fit_are_refused_with_the_example(
    tmp_path: Path, tensor: Tensor, value: Any, told: str
) -> None:
    write(tmp_path / "a.tfrecord", example(**{tensor.name: value}))
    said = refusal(tmp_path, tensor)
    assert told in said
    assert "Example 0 of a.tfrecord" in said


def test_samples_of_several_shapes_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1, 3), np.int32))
    np.save(tmp_path / "b.npy", np.zeros((1, 4), np.int32))
    assert "b.npy in the calibration data: samples for the input 'ids' have shape [4], and earlier ones [3]" in (
        refusal(tmp_path, IDS)
    )


def test_inputs_with_different_numbers_of_samples_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=images(2), ids=np.zeros((3, 1), np.int32))
    assert "'image' has 2, 'ids' has 3" in refusal(tmp_path, IMAGE, IDS)


def test_less_than_one_batch_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", images(3))
    assert "fewer samples than one batch of 4" in refusal(tmp_path, IMAGE, batch_size=4)


def test_a_folder_without_samples_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"")
    assert "no file whose name ends in .npz, .npy or .tfrecord" in refusal(tmp_path, IMAGE)


def test_an_unnamed_array_does_not_do_for_several_inputs(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", images(1))
    assert "has nothing for the input 'image': it has a single unnamed array" in refusal(tmp_path, IMAGE, IDS)


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.tfrecord"])
def test_broken_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"something else entirely, and long enough to be read")
    assert f"{name} in the calibration data cannot be read" in refusal(tmp_path, IMAGE)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([b"text"], dtype=object), allow_pickle=True)
    assert "save texts as arrays of fixed-width strings" in refusal(tmp_path, WORDS)


def test_without_batches_each_sample_is_a_call_of_whole_tensors(tmp_path: Path) -> None:
    scalar = Tensor(name="rate", dtype="FP32", shape=())
    picture = Tensor(name="image", dtype="FP32", shape=(2, 3))
    np.savez(tmp_path / "samples.npz", rate=np.arange(3, dtype=np.float32), image=images(3))
    calls = list(data.calls(tmp_path, [scalar, picture]))
    assert [(call["rate"].shape, call["image"].shape) for call in calls] == [((), (2, 3))] * 3
    assert [float(call["rate"]) for call in calls] == [0, 1, 2]
    assert len(list(data.calls(tmp_path, [scalar, picture], 2))) == 2


def test_without_batches_samples_may_have_different_lengths(tmp_path: Path) -> None:
    values = Tensor(name="values", dtype="FP32", shape=(-1,))
    rows = Tensor(name="rows", dtype="INT64", shape=(-1,))
    write(tmp_path / "a.tfrecord", example(values=[1.0, 2.0], rows=[0, 2]), example(values=[3.0], rows=[0, 0, 1]))
    calls = [{name: value.tolist() for name, value in call.items()} for call in data.calls(tmp_path, [values, rows])]
    assert calls == [{"values": [1, 2], "rows": [0, 2]}, {"values": [3], "rows": [0, 0, 1]}]


def test_without_batches_there_must_be_a_sample(tmp_path: Path) -> None:
    np.save(tmp_path / "none.npy", np.zeros((0, 2, 3), np.float32))
    with pytest.raises(CalibrationDataUnfit, match="has no sample: give at least one"):
        list(data.calls(tmp_path, [Tensor(name="image", dtype="FP32", shape=(2, 3))]))
