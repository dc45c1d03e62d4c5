# mypy: disable-error-code="no-untyped-call"
"""Models as people export them, with files, Examples, XLA, control flow or half precision round the network.

As far as a processor goes: for a GPU the graph is what TF-TRT is given, and TensorFlow runs it.
"""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import convert_to_constants

from tests import answers
from tests.answers import Arrays
from tests.box import Box
from tests.test_engines import request_of
from tftrt_runtime.contract.artifact import Sample, Tensor
from tftrt_runtime.contract.errors import Internal, NotAModel, NothingConvertible, SignatureNotFound
from tftrt_runtime.convert import cpu, engines, for_gpu, without_xla
from tftrt_runtime.convert.messages import ConvertAnswer, ConvertRequest
from tftrt_runtime.loading import constants
from tftrt_runtime.loading.messages import FreezeRequest
from tftrt_runtime.model import operations, samples, saved_model
from tftrt_runtime.verification import check, reference
from tftrt_runtime.verification.messages import CheckRequest, ComparisonData, ReferenceRequest

# The roundings one after the other in these networks: a picture's resizing, two convolutions, a mean, a dense layer, a
# softmax; three more convolutions in the loop of one of them.
TERMS = 20 + 4 * 3 * 3 * 3 + 3 * 3 * 16 + 16 * 16 + 32 + 20
# One step of FP16 at 1, for each of the layers that Keras' `mixed_float16` computes in it.
HALF = 4 * 2.0**-10
MODELS = ["pictures", "examples", "jitted", "flowing", "quantized", "half"]
# Compiled by XLA: the whole signature, a function in another one, one that is called in a loop.
JITTED = ["jitted-whole", "jitted-twice", "jitted-loop"]


def converted(
    folder: Path, target: Path, signature: str = "serving_default", data: Path | None = None
) -> ConvertAnswer:
    """What a conversion without a GPU answers."""
    references = target.with_name("references")
    references.mkdir(parents=True, exist_ok=True)
    request = ConvertRequest(
        uri=f"pvc://models/{folder.name}",
        source=str(folder),
        signature=signature,
        tensorflow=tf.__version__,
        batch_sizes=(1, 3),
        input_shapes={},
        references=str(references),
        data=data and ComparisonData(uri="pvc://data", folder=str(data)),
        events=str(target.with_name("events")),
        target=str(target),
    )
    return cpu.convert(request)


def checked(target: Path, answer: ConvertAnswer, signature: str = "serving_default", data: Path | None = None) -> Any:
    """What a look at the converted model answers."""
    request = CheckRequest(
        model=str(target),
        signature=signature,
        references=str(target.with_name("references")),
        compared=answer.compared,
        not_compared=answer.not_compared,
        data=data and ComparisonData(uri="pvc://data", folder=str(data)),
        events=str(target.with_name("events")),
        inputs=answer.inputs,
        outputs=answer.outputs,
        batch_sizes=(1, 3),
        samples=answer.samples,
        exact=True,
        engines=False,
    )
    return check.check(request)


def asked(function: Any, inputs: Arrays) -> Arrays:
    found = function(**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in found.items()}


def assert_alike(name: str, found: Arrays, expected: Arrays) -> None:
    if name == "half":
        np.testing.assert_allclose(found["scores"], expected["scores"], atol=HALF)
    else:
        answers.assert_alike(found, expected, TERMS)


@pytest.mark.parametrize("name", MODELS)
def test_it_is_converted_for_a_processor_and_answers_the_same(exported: Path, tmp_path: Path, name: str) -> None:
    answer = converted(exported / name, tmp_path / "converted")
    assert answer.kept is None
    # Two batch sizes; floats are asked in two sizes of numbers, too.
    assert answer.compared == (2 if name in {"pictures", "examples"} else 4)
    if name != "half":  # of which the order of sums is not all
        assert checked(tmp_path / "converted", answer).verification.samples == 4
    inputs, expected = answers.of(exported / f"{name}.npz")
    function = tf.saved_model.load(str(tmp_path / "converted")).signatures["serving_default"]
    assert_alike(name, asked(function, inputs), expected)


def test_what_no_words_are_taken_for_is_asked_files_and_examples_that_differ(exported: Path, tmp_path: Path) -> None:
    for name in ("pictures", "examples"):
        sample = converted(exported / name, tmp_path / name / "converted").sample
        assert sample is not None
        ((_, texts),) = sample.texts.items()
        assert len(set(texts)) == 4
        assert b"JFIF" in base64.b64decode(texts[0])


def test_the_users_own_files_come_before_those_that_are_made_up(exported: Path, tmp_path: Path) -> None:
    data = exported / "data"
    answer = converted(exported / "pictures", tmp_path / "converted", data=data)
    with np.load(data / "pictures.npz") as arrays:
        own = {bytes(text) for text in arrays["image_bytes"]}
    assert answer.sample is not None
    assert {base64.b64decode(text) for text in answer.sample.texts["image_bytes"]} <= own
    assert checked(tmp_path / "converted", answer, data=data).verification.uri == "pvc://data"


def test_a_few_texts_make_batches_of_any_size() -> None:
    words = Tensor(name="words", dtype="BYTES", shape=(-1, 2))
    texts = tuple(base64.b64encode(text).decode() for text in (b"a", b"b", b"c", b"d"))
    batch = samples.batch([words], 3, Sample(shapes={"words": (2,)}, texts={"words": texts}))
    assert batch["words"].tolist() == [[b"a", b"b"], [b"c", b"d"], [b"a", b"b"]]
    assert "texts" not in Sample().model_dump()


@pytest.mark.parametrize("name", [*MODELS, *JITTED])
@pytest.mark.usefixtures("no_tensorrt")
def test_what_tf_trt_is_given_answers_the_same(exported: Path, tmp_path: Path, name: str) -> None:
    source = without_xla.plain(exported / name, tmp_path)
    assert (source == tmp_path) == name.startswith("jitted")
    converter = engines.new_converter(request_of(source, tmp_path / "converted"))
    function = converter.convert()
    assert all(one.questions > 0 for one in converter.rewritten), converter.rewritten
    assert "Conv2D" in {operation.type for operation in function.graph.get_operations()}, "outside of functions"
    assert "FakeQuantWithMinMaxVars" not in {operation.type for operation in function.graph.get_operations()}
    inputs, expected = answers.of(exported / f"{name}.npz")
    # A function of a graph has its answers in the order of their names.
    found = function(**{key: tf.constant(value) for key, value in inputs.items()})
    assert_alike(name, {key: value.numpy() for key, value in zip(sorted(expected), found)}, expected)


def test_a_function_for_xla_is_opened_for_the_freezing_round_tables_too(exported: Path, tmp_path: Path) -> None:
    request = FreezeRequest(uri="u", source=str(exported / "jitted"), signature="serving_default", target=str(tmp_path))
    constants.save(request)
    saved = saved_model_pb2.SavedModel.FromString((tmp_path / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    assert not any(function.attr["_XlaMustCompile"].b for function in functions)


def test_freezing_alone_leaves_what_xla_compiles_in_its_function(exported: Path) -> None:
    """Else there would be no need to take it off."""
    loaded = tf.saved_model.load(str(exported / "jitted"))
    function = convert_to_constants.convert_variables_to_constants_v2(loaded.signatures["serving_default"])
    graph = function.graph.as_graph_def()
    assert "Conv2D" not in {node.op for node in graph.node}


@pytest.mark.parametrize(("name", "operation"), [("python", "PyFunc"), ("eager-python", "EagerPyFunc")])
def test_a_model_that_calls_python_is_refused_with_what_to_do(
    exported: Path, tmp_path: Path, name: str, operation: str
) -> None:
    with pytest.raises(NotAModel) as refused:
        converted(exported / name, tmp_path / "converted")
    assert str(refused.value).startswith(f"pvc://models/{name} uses {operation!r}, which calls Python code")
    assert "Write it with TensorFlow's operations, or export the model without it." in str(refused.value)
    assert not (tmp_path / "converted").exists()


def test_the_other_signature_of_a_model_that_calls_python_is_taken(exported: Path, tmp_path: Path) -> None:
    assert converted(exported / "python", tmp_path / "other", "without").compared == 4


def foreign(model: Path, folder: Path) -> Path:
    """A copy of the SavedModel `two` with an operation of its own."""
    saved = saved_model_pb2.SavedModel.FromString((model / "saved_model.pb").read_bytes())
    for function in saved.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            node.op = "MyOwnOp" if node.op == "Equal" else node.op
    folder.mkdir(parents=True)
    (folder / "variables").symlink_to(model / "variables")
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    return folder


@pytest.mark.parametrize(
    ("name", "told", "what_to_do"),
    [
        ("eager-python", "uses 'EagerPyFunc', which calls Python code", "export the model without it."),
        ("of-another-device", "uses 'CudnnRNN', for which TensorFlow 2.14.1 has no kernel", "Export the model for"),
        ("foreign", "uses the operation 'MyOwnOp', which TensorFlow 2.14.1 does not", "Export the model without it."),
    ],
)
def test_what_cannot_run_is_refused_in_a_job_by_its_name_and_with_what_to_do(
    exported: Path, models: Path, tmp_path: Path, name: str, told: str, what_to_do: str
) -> None:
    if name == "foreign":
        shutil.copytree(foreign(models / "two", tmp_path / "made"), tmp_path / "shelf/foreign")
    box = Box(tmp_path / "box", name=name, models=tmp_path / "shelf" if name == "foreign" else exported)
    for step in ("lookup", "fetch"):
        assert box.run(step).code == 0
    ended = box.run("convert")
    assert (ended.code, ended.termination["reason"]) == (13, "NotAModel"), ended.log
    assert ended.message.startswith(f"pvc://models/{name} {told}")
    assert what_to_do in ended.message
    assert not (box.workspace / "convert.json").exists()
    assert [path for path in (box.workspace / "artifact").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["random", "augmented"])
def test_for_a_gpu_a_random_layer_is_the_one_reason_that_is_told(exported: Path, tmp_path: Path, name: str) -> None:
    """Keras' augmentation keeps what it drew last, so that it cannot be frozen either: that tells nobody what to do."""
    request = ReferenceRequest(
        uri=f"pvc://models/{name}",
        source=str(exported / name),
        signature="serving_default",
        tensorflow=tf.__version__,
        batch_sizes=(1, 3),
        input_shapes={},
        references=str(tmp_path),
        data=None,
        events=str(tmp_path / "events"),
    )
    _, answer = reference.ask(request)
    assert (answer.kept is not None) == (name == "augmented")
    with pytest.raises(NothingConvertible, match=r"answers the same input differently each time.*augmentation"):
        for_gpu.expect_convertible(answer, request.uri)


def test_an_operation_that_this_tensorflow_does_not_have_is_named(models: Path, tmp_path: Path) -> None:
    with pytest.raises(NotAModel, match=r"pvc://m uses the operation 'MyOwnOp', which TensorFlow .* does not have"):
        saved_model.load(foreign(models / "two", tmp_path / "model"), "pvc://m")


def test_an_operation_without_a_kernel_is_named() -> None:
    graph = tf.compat.v1.GraphDef()
    for operation in ("Placeholder", "MatMul", "TPUPartitionedCall", "CudnnRNNV3"):
        graph.node.add(name=operation, op=operation)
    assert operations.not_runnable(graph) == ["CudnnRNNV3", "TPUPartitionedCall"], "there is no GPU"


def test_a_model_that_takes_nothing_made_up_needs_data_and_then_has_answered(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(SignatureNotFound, match=r"answers nothing that was made up .*x is too small.*dataUri"):
        converted(exported / "demanding", tmp_path / "converted")
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data/x.npy", np.full((4, 2), 2000, np.float32))
    answer = converted(exported / "demanding", tmp_path / "converted", data=tmp_path / "data")
    assert answer.sample is None
    assert checked(tmp_path / "converted", answer, data=tmp_path / "data").verification.samples > 0


@pytest.mark.parametrize("name", ["random", "augmented"])
def test_a_model_that_answers_differently_each_time_has_answered_once(
    exported: Path, tmp_path: Path, name: str
) -> None:
    """Dropout; and Keras' augmentation, whose generator is a variable."""
    answer = converted(exported / name, tmp_path / "converted")
    assert answer.compared == 0
    assert answer.sample is not None
    seen = checked(tmp_path / "converted", answer).verification
    assert (seen.samples, seen.maxRelativeError, seen.notCompared) == (0, None, "AnswersDiffer")
    with pytest.raises(Internal, match="was asked nothing"):
        checked(tmp_path / "converted", answer.model_copy(update={"samples": ()}))
