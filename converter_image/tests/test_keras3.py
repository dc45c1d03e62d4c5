# mypy: disable-error-code="no-untyped-call"
"""What Keras 3 of TensorFlow 2.16 to 2.21 exported is converted, and answers as it did there."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest
import tensorflow as tf

from tests import answers
from tests.box import Box
from tests.keras3.__main__ import HERE, VERSIONS
from tests.test_engines import request_of
from tftrt_runtime.convert import engines
from tftrt_runtime.convert.rewrites import padding, pooling, spelled_out
from tftrt_runtime.model import operations

# The roundings one after the other: convolutions, normalizations, attention and seven steps of a recurrent layer over 8
# values each, dense layers, a softmax.
TERMS = 3 * 3 * 3 + 3 * 3 * 8 + 8 + 49 + 4 * 8 + 2 * 8 + 20 + 7 * (8 + 8 + 20) + 16 + 20


def archive(tensorflow: str, model: str = "keras") -> Path:
    return HERE / f"{model}-tensorflow-{tensorflow}.tar.gz"


def unpacked(path: Path, folder: Path) -> Path:
    with tarfile.open(path) as packed:
        packed.extractall(folder)
    return folder


def test_there_is_one_of_each_version() -> None:
    assert {path.name for path in HERE.glob("keras-*.tar.gz")} == {archive(version).name for version in VERSIONS}
    assert [version.rpartition(".")[0] for version in VERSIONS] == [f"2.{minor}" for minor in range(16, 22)]


@pytest.mark.parametrize("tensorflow", VERSIONS)
def test_an_export_is_converted_as_it_comes_and_answers_as_it_did(tmp_path: Path, tensorflow: str) -> None:
    box = Box(tmp_path, name="keras")
    (box.pvc / "models").mkdir()
    shutil.copy(archive(tensorflow), box.pvc / "models/keras.tar.gz")
    box.spec["source"] = {"uri": "pvc://models/keras.tar.gz", "signature": "serving_default"}
    for step in ("lookup", "fetch", "convert"):
        ended = box.run(step)
        assert ended.code == 0, ended.log
    findings = json.loads((box.workspace / "artifact/report.json").read_text())["findings"]
    compared = {(one["output"], one["batchSize"]) for one in findings["comparisons"]}
    assert compared == {(output, size) for output in ("price", "topic") for size in (1, 4)}
    inputs, expected = answers.of(HERE / f"keras-tensorflow-{tensorflow}.npz")
    function = tf.saved_model.load(str(box.workspace / "artifact/model")).signatures["serving_default"]
    found = function(**{name: tf.constant(value) for name, value in inputs.items()})
    answers.assert_alike({name: value.numpy() for name, value in found.items()}, expected, TERMS)


@pytest.mark.parametrize("tensorflow", VERSIONS)
@pytest.mark.usefixtures("no_tensorrt")
def test_what_tf_trt_is_given_of_an_export_answers_as_it_did(tmp_path: Path, tensorflow: str) -> None:
    """The rewrites know its graph: layer normalization is spelled out in it, and zeros are before a convolution.

    Those before its pooling stay: what is behind it is no convolution of 1 x 1, which could leave out what is too much.
    """
    source = unpacked(archive(tensorflow), tmp_path / "source")
    converter = engines.new_converter(request_of(source, tmp_path / "converted", precision="FP16"))
    function = converter.convert()
    inputs, expected = answers.of(HERE / f"keras-tensorflow-{tensorflow}.npz")
    # A function of a graph has its answers in the order of their names.
    found = function(**{name: tf.constant(value) for name, value in inputs.items()})
    answers.assert_alike({name: value.numpy() for name, value in zip(sorted(expected), found)}, expected, TERMS)
    places = {one.name: one.places for one in converter.rewritten if one.dropped is None}
    assert places[spelled_out.SPELLED_OUT.name] == 1
    assert places[padding.MOVED.name] == 1
    assert pooling.FOLDED.name not in places
    assert all(one.questions > 0 and one.notCompared is None for one in converter.rewritten), "both graphs were asked"


def test_an_export_of_jax_is_refused_by_the_name_of_its_operation(tmp_path: Path) -> None:
    box = Box(tmp_path, name="jax")
    (box.pvc / "models").mkdir()
    shutil.copy(archive("2.18.1", "jax"), box.pvc / "models/jax.tar.gz")
    box.spec["source"] = {"uri": "pvc://models/jax.tar.gz", "signature": "serving_default"}
    for step in ("lookup", "fetch"):
        assert box.run(step).code == 0
    ended = box.run("convert")
    assert (ended.code, ended.termination["reason"]) == (13, "NotAModel")
    assert f"uses {operations.XLA_PROGRAM!r}, a program for XLA" in ended.message
    assert "native_serialization=False" in ended.message
