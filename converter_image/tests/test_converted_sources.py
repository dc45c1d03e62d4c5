# mypy: disable-error-code="misc, untyped-decorator, no-untyped-call"
"""Unusual forms of models and of data, converted and compared."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tests.box import Box
from tests.models import save


def test_a_saved_model_as_text_is_converted(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "cnn"
    shutil.copytree(models / "cnn", folder)
    text = text_format.MessageToString(SavedModel.FromString((folder / "saved_model.pb").read_bytes()))
    (folder / "saved_model.pbtxt").write_text(text)
    (folder / "saved_model.pb").unlink()
    ended = Box(tmp_path / "box", name="cnn", models=folder.parent).convert_and_publish()
    assert float(ended.termination["verification"]["maxRelativeError"]) < 1e-3


class Decoded(tf.Module):
    """Takes numbers as they lie in memory, as texts."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")])
    def __call__(self, texts: Any) -> dict[str, Any]:
        return {"doubled": tf.ensure_shape(2 * tf.io.decode_raw(texts, tf.int32), [None, 2])}


def test_texts_that_lost_their_nuls_in_an_array_are_told_and_those_of_a_tfrecord_have_them(tmp_path: Path) -> None:
    save(Decoded(), tmp_path / "models" / "decoded")
    box = Box(tmp_path / "box", name="decoded", models=tmp_path / "models")
    box.spec["verification"] = {"uri": "pvc://data"}
    data = box.pvc / "data"
    data.mkdir()
    texts = [np.array([number, number], np.int32).tobytes() for number in range(4)]
    np.save(data / "texts.npy", np.array(texts))
    assert box.run("fetch").code == 0
    ended = box.run("convert")
    assert (ended.code, ended.termination["reason"]) == (15, "CalibrationDataUnfit"), ended.log
    assert "Texts in numpy arrays are of fixed width and cannot end in NUL" in ended.message
    assert "give those as TFRecord files" in ended.message
    assert "or in an .npz with an array of their lengths in bytes beside them, NAME_byte_lengths" in ended.message
    (data / "texts.npy").unlink()
    np.savez(data / "texts.npz", texts=np.array(texts), texts_byte_lengths=np.array([len(text) for text in texts]))
    assert box.run("fetch").code == 0
    ended = box.run("convert")
    assert ended.code == 0, ended.log
    (data / "texts.npz").unlink()
    with tf.io.TFRecordWriter(str(data / "texts.tfrecord")) as writer:
        for text in texts:
            values = tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))
            example = tf.train.Example(features=tf.train.Features(feature={"texts": values}))
            writer.write(example.SerializeToString())
    assert box.run("fetch").code == 0
    ended = box.run("convert")
    assert ended.code == 0, ended.log
