# mypy: disable-error-code="no-untyped-call"
"""Which files of samples become which batches, and what is refused in which words."""

from __future__ import annotations

import gzip
import zipfile
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


def write(file: Path, *examples: bytes, compression: str = "") -> None:
    with tf.io.TFRecordWriter(str(file), compression) as writer:
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
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "cats.csv").write_text("cat,1")
    said = refusal(tmp_path, IMAGE)
    assert "no file of samples, which are .npz, .npy or TFRecord files: it holds cat.jpg, labels/cats.csv." in said
    for number in range(20):
        (tmp_path / f"{number:02}.jpg").write_bytes(b"")
    assert "09.jpg, ...." in refusal(tmp_path, IMAGE)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "it holds nothing" in refusal(tmp_path, IMAGE)


def test_an_unnamed_array_does_not_do_for_several_inputs(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", images(1))
    assert "has nothing for the input 'image': it has a single unnamed array" in refusal(tmp_path, IMAGE, IDS)


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.tfrecord"])
def test_broken_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"something else entirely, and long enough to be read")
    assert f"{name} in the calibration data cannot be read" in refusal(tmp_path, IMAGE)


TFRECORD_NAMES = [
    "train-00000-of-00128",  # ImageNet
    "examples-00000-of-00001.gz",  # TFX
    "data_tfrecord-00000-of-00001.gz",
    "pet_faces.record-00000-of-00010",  # object detection
    "train.record",
    "train00-2071.tfrec",  # Kaggle
    "x.tfrecord.gz",
    "x.TFRecords",
    "part-r-00000",
]


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
@pytest.mark.parametrize("name", TFRECORD_NAMES)
def test_tfrecords_are_known_by_their_content_whatever_their_name(tmp_path: Path, name: str, compression: str) -> None:
    for number, file in enumerate([name, f"{name}-again"]):
        write(tmp_path / file, example(image=images(1, start=number).tobytes()), compression=compression)
    (tmp_path / "notes.txt").write_text("Not samples, and longer than the head of a record is.")
    assert firsts(list(data.batches(tmp_path, [IMAGE], 2))) == [[0, 1]]


@pytest.mark.parametrize("name", ["x.tfrec", "x.tfrecord-00000-of-00010", "x.record", "x.tfrecord.gz"])
def test_what_is_named_like_a_tfrecord_and_is_none_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"something else entirely, and long enough to be read")
    assert f"{name} in the calibration data cannot be read as a TFRecord file" in refusal(tmp_path, IMAGE)
    (tmp_path / name).write_bytes(gzip.compress(b"something else entirely, and long enough to be read"))
    assert f"{name} in the calibration data cannot be read as a TFRecord file" in refusal(tmp_path, IMAGE)


def test_a_compressed_tfrecord_that_breaks_off_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "x.tfrecord.gz", *[example(image=images(1).tobytes())] * 500, compression="GZIP")
    whole = (tmp_path / "x.tfrecord.gz").read_bytes()
    (tmp_path / "x.tfrecord.gz").write_bytes(whole[:-20])
    assert "x.tfrecord.gz in the calibration data cannot be read as a TFRecord file" in refusal(tmp_path, IMAGE)


def test_arrays_are_known_by_their_content_where_the_name_says_nothing(tmp_path: Path) -> None:
    """As an address gives them that names no file."""
    with (tmp_path / "a").open("wb") as file:
        np.save(file, images(1))
    with (tmp_path / "b").open("wb") as file:
        np.savez(file, image=images(1, start=1))
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("notes.txt", "Not samples.")
    assert firsts(list(data.batches(tmp_path, [IMAGE], 2))) == [[0, 1]]


def test_arrays_of_objects_and_other_files_beside_the_right_ones_are_left_aside(tmp_path: Path) -> None:
    objects = np.array([{"license": "none"}], dtype=object)
    np.savez(tmp_path / "a.npz", image=images(2), meta=objects, names=np.array(["a", None], dtype=object))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("README.txt", "Not an array.")
    assert firsts(list(data.batches(tmp_path, [IMAGE], 2))) == [[0, 1]]
    np.savez(tmp_path / "a.npz", arr_0=images(2))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("README.txt", "Not an array.")
    assert firsts(list(data.batches(tmp_path, [IMAGE], 2))) == [[0, 1]], "it is the only array"


def test_what_a_mac_puts_into_an_archive_of_arrays_is_none_of_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", arr_0=images(2))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        for name in ("__MACOSX/._arr_0.npy", "._arr_0.npy", ".DS_Store"):
            archive.writestr(name, "of a Mac, and no array")
    assert firsts(list(data.batches(tmp_path, [IMAGE], 2))) == [[0, 1]], "it is the only array"
    (tmp_path / "a.npz").rename(tmp_path / "a.zip")
    assert firsts(list(data.batches(tmp_path, [IMAGE], 2))) == [[0, 1]]


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"image.npy": b"no array"}, "The array 'image' of a.npz in the calibration data is none"),
        ({"README.txt": b"no array"}, "has nothing for the input 'image': it has nothing"),
        ({}, "has nothing for the input 'image': it has nothing"),
    ],
)
def test_a_member_that_is_no_array_is_refused(tmp_path: Path, members: dict[str, bytes], told: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert told in refusal(tmp_path, IMAGE)


@pytest.mark.parametrize("write_arrays", [np.savez, np.savez_compressed])
def test_numbers_of_another_machines_order_are_the_same_numbers(tmp_path: Path, write_arrays: Any) -> None:
    ids = np.arange(6, dtype=">i4").reshape(2, 3)
    write_arrays(tmp_path / "a.npz", image=images(2).astype(">f4"), ids=ids, words=np.array(["ä", "b"], ">U1"))
    (batch,) = data.batches(tmp_path, [IMAGE, IDS, WORDS], 2)
    assert firsts([batch]) == [[0, 1]]
    assert batch["ids"].tolist() == ids.tolist()
    assert batch["words"].tolist() == ["ä".encode(), b"b"]
    assert {array.dtype.byteorder for name, array in batch.items() if name != "words"} == {"="}


def serialized(array: Any) -> bytes:
    text: bytes = tf.io.serialize_tensor(tf.constant(array)).numpy()
    return text


OPEN = Tensor(name="open", dtype="FP32", shape=(-1, -1, -1))


def test_a_serialized_tensor_is_what_it_was_made_of(tmp_path: Path) -> None:
    """Also where the shape is open, which the tensor tells; and none of its head is taken for values."""
    sample = np.arange(6, dtype=np.float32).reshape(2, 3)
    features = {
        "image": serialized(sample),
        "ids": serialized(np.array([5, 6, 7], np.int32)),
        "mask": serialized(np.array([False, True])),
        "open": serialized(sample),
    }
    write(tmp_path / "a", example(**features))
    (batch,) = data.batches(tmp_path, [IMAGE, IDS, MASK, OPEN], 1)
    np.testing.assert_array_equal(batch["image"][0], sample)
    np.testing.assert_array_equal(batch["open"][0], sample)
    assert batch["ids"].tolist() == [[5, 6, 7]]
    assert batch["mask"].tolist() == [[False, True]]


@pytest.mark.parametrize("value", [np.zeros((3, 2), np.float32), np.zeros((2, 3), np.float64), np.zeros(6, np.float32)])
def test_a_serialized_tensor_that_does_not_fit_is_refused_with_what_it_is(tmp_path: Path, value: Any) -> None:
    write(tmp_path / "a", example(image=serialized(value)))
    told = f"the tensor for the input 'image' is {value.dtype} {list(value.shape)}, and a sample is float32 [2, 3]"
    assert told in refusal(tmp_path, IMAGE)


PICTURES = {
    "JPEG": tf.io.encode_jpeg(np.zeros((8, 8, 3), np.uint8)).numpy(),
    "PNG": tf.io.encode_png(np.zeros((8, 8, 3), np.uint8)).numpy(),
    "GIF": b"GIF89a\x08\0\x08\0\0\0\0;",
    "WebP": b"RIFF\x24\0\0\0WEBPVP8 ",
    "BMP": b"BM\x0e\0\0\0" + bytes(8),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("shape", [(-1, -1), (-1, 8, 8, 3)])
def test_a_picture_is_no_sample_of_its_pixels(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    write(tmp_path / "a", example(pixels=PICTURES[name]))
    said = refusal(tmp_path, Tensor(name="pixels", dtype="UINT8", shape=shape))
    assert f"are a {name} file, and it takes uint8 values: decode pictures before you write them" in said


def test_pixels_that_begin_like_a_picture_are_pixels(tmp_path: Path) -> None:
    pixels = b"\xff\xd8\xff" + bytes(189)
    write(tmp_path / "a", example(pixels=pixels))
    for shape in ((-1, -1), (-1, 8, 8, 3)):
        (batch,) = data.batches(tmp_path, [Tensor(name="pixels", dtype="UINT8", shape=shape)], 1)
        assert batch["pixels"].tobytes() == pixels


def test_texts_of_fixed_width_that_a_model_does_not_take_are_told_to_end_in_no_nul(tmp_path: Path) -> None:
    texts = np.array([b"a\0", b"b\0"])
    np.save(tmp_path / "a.npy", texts)
    (batch,) = data.batches(tmp_path, [WORDS], 2)
    assert batch["words"].tolist() == [b"a", b"b"], "numpy itself cuts them"
    assert "cannot end in NUL" in data.on_texts(tmp_path, batch)
    assert "TFRecord" in data.on_texts(tmp_path, batch)
    assert data.on_texts(tmp_path, {"image": images(1)}) == ""
    (tmp_path / "a.npy").unlink()
    write(tmp_path / "a.tfrecord", example(words=b"a\0"))
    (batch,) = data.batches(tmp_path, [WORDS], 1)
    assert batch["words"].tolist() == [b"a\0"]
    assert data.on_texts(tmp_path, batch) == ""


@pytest.mark.parametrize("texts", [np.array([b"a\0\0", b"", b"bc"]), np.array(["a\0\0", "", "bc"])])
def test_lengths_in_bytes_bring_back_the_nuls_that_texts_end_in(tmp_path: Path, texts: Any) -> None:
    np.savez(tmp_path / "a.npz", words=texts, words_byte_lengths=np.array([3, 0, 2]))
    (batch,) = data.batches(tmp_path, [WORDS], 3)
    assert batch["words"].tolist() == [b"a\0\0", b"", b"bc"]
    calls = data.calls(tmp_path, [Tensor(name="words", dtype="BYTES", shape=(1,))])
    assert [call["words"].tolist() for call in calls] == [[b"a\0\0"], [b""], [b"bc"]]


def test_lengths_are_those_of_an_input_of_that_name_where_there_is_one(tmp_path: Path) -> None:
    own = Tensor(name="words_byte_lengths", dtype="INT64", shape=(-1,))
    np.savez(tmp_path / "a.npz", words=np.array([b"a"]), words_byte_lengths=np.array([7]))
    (batch,) = data.batches(tmp_path, [WORDS, own], 1)
    assert (batch["words"].tolist(), batch["words_byte_lengths"].tolist()) == ([b"a"], [7])


@pytest.mark.parametrize(
    ("lengths", "told"),
    [
        ([1, 1], "'words_byte_lengths' has a length that is not that of its text for the input 'words'"),
        ([2, 3], "'words_byte_lengths' has a length that is not that of its text for the input 'words'"),
        ([1.0, 2.0], "'words_byte_lengths' is float64 [2], and the texts for the input 'words' are [2]"),
        ([1], "'words_byte_lengths' is int64 [1], and the texts for the input 'words' are [2]"),
    ],
)
def test_what_are_no_lengths_of_texts_is_refused(tmp_path: Path, lengths: list[float], told: str) -> None:
    np.savez(tmp_path / "a.npz", words=np.array([b"a", b"bc"]), words_byte_lengths=np.array(lengths))
    assert told in refusal(tmp_path, WORDS)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([b"text"], dtype=object), allow_pickle=True)
    said = refusal(tmp_path, WORDS)
    assert "save texts as arrays of fixed-width strings" in said
    assert "as TFRecord files or beside an array of their lengths, NAME_byte_lengths" in said


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


@pytest.mark.parametrize("shape", [(4, 2, 3), (4, 1, 2, 3)])
def test_where_a_call_is_of_one_item_the_first_dimension_may_count_items(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    """As for the same model with batches, which one with a scalar beside its answers is or not by its largest batch."""
    np.savez(tmp_path / "samples.npz", image=images(4).reshape(shape))
    calls = list(data.calls(tmp_path, [Tensor(name="image", dtype="FP32", shape=(1, 2, 3))]))
    assert [call["image"].tolist() for call in calls] == [images(1, number).tolist() for number in range(4)]
