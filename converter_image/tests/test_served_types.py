# mypy: disable-error-code="no-untyped-call, misc, untyped-decorator"
"""Inputs that are served in another type than the model takes: from the spec to what a real server answers.

What is served is asked bytes or halves, and the unconverted model what numpy makes of them: `value * scale + offset`.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tritonclient.utils import InferenceServerException

from tests import answers
from tests.answers import Arrays
from tests.box import Box
from tests.graphs import before, frozen, on_a_gpu
from tests.test_convert import fetched
from tests.test_engines import request_of
from tests.test_serve import ask, clients
from tftrt_runtime.contract import termination
from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.contract.errors import SignatureNotFound
from tftrt_runtime.contract.spec import ServedInput
from tftrt_runtime.convert import engines
from tftrt_runtime.loading import bound, decoding, freeze
from tftrt_runtime.loading.messages import BindRequest
from tftrt_runtime.model import samples
from tftrt_runtime.model.dtypes import numpy_type
from tftrt_runtime.report import data
from tftrt_runtime.report.how_to_ask import how_to_ask

URI = "pvc://models/net"
# The sum, a convolution, a mean of 8 x 8, a dense layer.
TERMS = 2 + 3 * 3 * 3 + 8 * 8 + 8

BYTES = {"dtype": "UINT8", "scale": ["0.00392156862745098"]}
# As Caffe's ResNet-50 was trained, and as torchvision's was.
CAFFE = {"dtype": "UINT8", "offset": ["-103.939", "-116.779", "-123.68"]}
TORCH = {
    "dtype": "UINT8",
    "scale": ["0.01712475", "0.017507", "0.01742919"],
    "offset": ["-2.1179", "-2.0357", "-1.8044"],
}
HALVES = {"dtype": "FP16"}


def served(given: dict[str, Any]) -> ServedInput:
    return ServedInput.model_validate_json(json.dumps(given))


def by_numpy(values: Any, given: dict[str, Any]) -> Any:
    """What the model is to get, rounded as IEEE 754 says: a product, and a sum."""
    scale, offset = (np.array(given.get(key, [neutral]), np.float64) for key, neutral in (("scale", 1), ("offset", 0)))
    return values.astype(np.float32) * scale.astype(np.float32) + offset.astype(np.float32)


class Pictures(tf.Module):
    """A convolution that pads, a mean, a dense layer; of pictures in a batch of any size, or as `shape` says."""

    def __init__(self, shape: tuple[int | None, ...] = (None, 8, 8, 3)) -> None:
        random = np.random.default_rng(3)
        self.kernel = tf.Variable(random.normal(size=(3, 3, 3, 8)).astype(np.float32))
        self.weights = tf.Variable(random.normal(size=(8, 5)).astype(np.float32))
        spec = tf.TensorSpec(shape, tf.float32, name="image")
        self.serve = tf.function(self.scores, input_signature=[spec], autograph=False)

    def scores(self, image: Any) -> dict[str, Any]:
        batch = image if image.shape.rank == 4 else image[tf.newaxis]
        found = tf.matmul(tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(batch, self.kernel, 1, "SAME")), [1, 2]), self.weights)
        return {"scores": found if image.shape.rank == 4 else found[0]}


SHAPES: dict[str, tuple[int | None, ...]] = {
    "pictures": (None, 8, 8, 3),
    "one-picture": (1, 8, 8, 3),
    "no-batch": (8, 8, 3),
    "any-channels": (None, 8, 8, None),
}


class AnyRank(tf.Module):
    """Takes tensors of any number of dimensions."""

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="image")], autograph=False)
    def serve(self, image: Any) -> dict[str, Any]:
        return {"y": tf.nn.relu(image) * 0.5}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each of `SHAPES`, and `any-rank`."""
    folder = tmp_path_factory.mktemp("pictures")
    made: dict[str, Any] = {name: Pictures(shape) for name, shape in SHAPES.items()}
    for name, model in {**made, "any-rank": AnyRank()}.items():
        tf.saved_model.save(model, str(folder / name), signatures={"serving_default": model.serve})
    return folder


def bytes_of(shape: tuple[int, ...], seed: int = 4) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def asked(folder: Path, inputs: Arrays, signature: str = "serving_default") -> Arrays:
    """The answers of a SavedModel."""
    function = tf.saved_model.load(str(folder)).signatures[signature]
    return {key: value.numpy() for key, value in function(**{k: tf.constant(v) for k, v in inputs.items()}).items()}


def converted(box: Box, given: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The summary of a model that went all the way, with inputs served so."""
    box.spec["conversion"] = {**box.spec["conversion"], "inputs": given, **changes}
    box.convert_and_publish()
    summary: dict[str, Any] = box.manifest["summary"]
    assert float(summary["verification"]["maxRelativeError"]) < 1e-4
    return summary


@pytest.mark.parametrize("given", [{"dtype": "UINT8"}, BYTES, CAFFE, TORCH], ids=["plain", "scaled", "caffe", "torch"])
def test_every_byte_becomes_bit_for_bit_what_a_product_and_a_sum_in_fp32_make_of_it(given: dict[str, Any]) -> None:
    every = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, axis=1)
    decode = tf.function(lambda value: decoding.decoded(value, served(given)), autograph=False)
    found = decode(tf.constant(every)).numpy()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, by_numpy(every, given))


@pytest.mark.parametrize("given", [HALVES, {**TORCH, "dtype": "FP16"}], ids=["plain", "scaled"])
def test_every_half_becomes_bit_for_bit_what_a_product_and_a_sum_in_fp32_make_of_it(given: dict[str, Any]) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    every = np.repeat(every[np.isfinite(every)][:, np.newaxis], 3, axis=1)
    decode = tf.function(lambda value: decoding.decoded(value, served(given)), autograph=False)
    np.testing.assert_array_equal(decode(tf.constant(every)).numpy(), by_numpy(every, given))


@pytest.mark.parametrize("given", [BYTES, TORCH, HALVES], ids=["a product", "a product and a sum", "a cast"])
def test_no_engine_goes_across_to_what_makes_the_models_own_values(given: dict[str, Any]) -> None:
    """Grappler leaves what TF-TRT does not take: behind the cast where more follows, and in front of the model."""
    model = Pictures()
    kind = decoding.TYPES[given["dtype"]]

    def network(raw: Any) -> Any:
        # The tests' graphs have inputs of FP32.
        return model.scores(decoding.decoded(tf.cast(raw, kind), served(given)))["scores"]

    way = before(on_a_gpu(frozen(network, [None, 8, 8, 3])), "Conv2D")
    arithmetic = [operation for operation in way if operation in {"Mul", "AddV2", "PlaceholderWithDefault"}]
    expected = [
        "PlaceholderWithDefault",
        *(["AddV2"] if "offset" in given else []),
        *(["Mul"] if "scale" in given else []),
    ]
    assert arithmetic == [*expected, *(["PlaceholderWithDefault"] if len(expected) > 1 else [])]


def test_what_makes_the_models_own_values_runs_where_the_model_does(pictures: Path, tmp_path: Path) -> None:
    """A device in its graph would have it computed where the model was converted."""
    bind(pictures / "pictures", tmp_path / "made", image=TORCH)
    saved = saved_model_pb2.SavedModel.FromString((tmp_path / "made/saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    nodes = [node for function in functions for node in function.node_def if node.op in {"Cast", "Mul", "AddV2"}]
    assert {node.op for node in nodes} >= {"Cast", "Mul", "AddV2"}
    assert {node.device for node in nodes} == {""}


def bind(
    source: Path,
    target: Path,
    values: dict[str, Any] | None = None,
    shapes: dict[str, Any] | None = None,
    **given: dict[str, Any],
) -> None:
    bound.save(
        BindRequest(
            uri=URI,
            source=str(source),
            signature="serving_default",
            values=values or {},
            shapes=shapes or {},
            served={name: served(one) for name, one in given.items()},
            target=str(target),
        )
    )


def test_pictures_as_bytes_are_answered_as_the_unconverted_model_answers_their_values(
    pictures: Path, tmp_path: Path
) -> None:
    box = Box(tmp_path, name="pictures", models=pictures)
    summary = converted(box, {"image": CAFFE})
    (image,) = summary["inputs"]
    assert (image["dtype"], image["shape"]) == ("UINT8", [-1, 8, 8, 3])
    assert summary["batching"]["mode"] == "Dynamic"
    whole = termination.call_bytes([Tensor.model_validate(image)], batched=True)
    assert whole == 8 * 8 * 3, "what a server's shared memory is made for: a byte for each value"
    page = (box.published / "report.html").read_text()
    assert "<code>image</code> as UINT8, of which the model gets value × 1 + -103.939 / -116.779 / -123.68" in page  # noqa: RUF001

    image = bytes_of((3, 8, 8, 3))
    expected = asked(pictures / "pictures", {"image": by_numpy(image, CAFFE)})
    server = box.serve()
    server.wait_until_ready()
    for module, client in clients(server):
        answers.assert_alike(ask(module, client, "pictures", {"image": image}, ["scores"]), expected, TERMS)
    module, client = clients(server)[1]
    with pytest.raises(InferenceServerException, match="expects 'UINT8'"):
        ask(module, client, "pictures", {"image": by_numpy(image, CAFFE)}, ["scores"])
    report = data.read(box.published / data.FILE)
    how = how_to_ask(report.spec.model, report.findings.conversion)
    assert [field.datatype for field in how.inputs] == ["UINT8"]
    command = how.command.replace("pictures.default.svc:8000", f"127.0.0.1:{server.http}")
    answer = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    (scores,) = json.loads(answer.stdout)["outputs"]
    black = asked(pictures / "pictures", {"image": by_numpy(np.zeros((1, 8, 8, 3), np.uint8), CAFFE)})
    answers.assert_alike({"scores": np.array([scores["data"]], np.float32)}, black, TERMS)
    assert server.stop().code == 0


@pytest.mark.parametrize(
    ("name", "given", "batched", "shape"),
    [
        ("one-picture", TORCH, False, [1, 8, 8, 3]),
        ("no-batch", HALVES, False, [8, 8, 3]),
        ("any-channels", CAFFE, True, [-1, 8, 8, 3]),
        ("any-rank", CAFFE, True, [-1, 5, 3]),
    ],
)
def test_it_is_so_whatever_batches_the_model_takes(
    pictures: Path, tmp_path: Path, name: str, given: dict[str, Any], batched: bool, shape: list[int]
) -> None:
    """As many offsets as channels say how many those are, where the model leaves it open."""
    box = Box(tmp_path, name=name, models=pictures)
    sizes = {"min": [5, 3], "opt": [5, 3], "max": [5, 3]}
    summary = converted(box, {"image": given}, **({"inputShapes": {"image": sizes}} if name == "any-rank" else {}))
    (image,) = summary["inputs"]
    assert (summary["batched"], image["dtype"], image["shape"]) == (batched, given["dtype"], shape)
    values = bytes_of(tuple(2 if size < 0 else size for size in shape)).astype(numpy_type(given["dtype"]))
    found = asked(box.published / "model", {"image": values})
    answers.assert_alike(found, asked(pictures / name, {"image": by_numpy(values, given)}), TERMS)


def test_a_model_of_tensorflow_1_takes_bytes(tensorflow1: Path, tmp_path: Path) -> None:
    box = Box(tmp_path, name="tf1", models=tensorflow1)
    summary = converted(box, {"image": TORCH})
    assert [tensor["dtype"] for tensor in summary["inputs"]] == ["UINT8"]
    image = bytes_of((3, 8, 8, 3))
    expected = asked(tensorflow1 / "tf1", {"image": by_numpy(image, TORCH)})
    answers.assert_alike(asked(box.published / "model", {"image": image}), expected, TERMS + 20)


def test_some_inputs_of_a_frozen_graph_are_halves_and_others_bound(models: Path, tmp_path: Path) -> None:
    box = Box(tmp_path, name="frozen", models=models)
    source = {"format": "FrozenGraph", "inputs": ["net/input:0", "scale:0"], "outputs": ["net/logits:0"]}
    box.spec["source"] = {**box.spec["source"], **source}
    summary = converted(box, {"net_input": {**HALVES, "scale": ["-2"]}})
    assert [(tensor["name"], tensor["dtype"], tensor.get("source")) for tensor in summary["inputs"]] == [
        ("net_input", "FP16", "net/input:0"),
        ("scale", "FP32", None),
    ]
    x, scale = np.random.default_rng(5).normal(size=(3, 4)).astype(np.float16), np.ones((3, 1), np.float32)
    weights = np.random.default_rng(3).normal(size=(4, 6)).astype(np.float32)
    found = asked(box.published / "model", {"net_input": x, "scale": scale})
    answers.assert_alike(found, {"net_logits": x.astype(np.float32) * -2 @ weights + np.float32(0.5)}, 4 + 2)


@pytest.mark.usefixtures("no_tensorrt")
def test_what_comes_out_of_tf_trts_converter_takes_bytes(pictures: Path, tmp_path: Path) -> None:
    """Where TensorRT would rewrite the graph it is left as it is; all round that is TF-TRT's own code."""
    bind(pictures / "pictures", tmp_path / "made", image=TORCH)
    request = request_of(tmp_path / "made", tmp_path / "converted")
    assert [tensor.dtype for tensor in request.inputs] == ["UINT8"]
    converter = engines.new_converter(request)
    converter.convert()
    engines.save(converter, request)
    image = bytes_of((3, 8, 8, 3))
    expected = asked(pictures / "pictures", {"image": by_numpy(image, TORCH)})
    answers.assert_alike(asked(tmp_path / "converted", {"image": image}), expected, TERMS)


def test_the_model_knows_the_rank_of_what_is_made_of_an_input_of_any_rank(pictures: Path, tmp_path: Path) -> None:
    """TF-TRT takes nothing of unknown rank."""
    bind(pictures / "any-rank", tmp_path / "made", shapes={"image": (None, 5, 3)}, image=TORCH)
    loaded = tf.saved_model.load(str(tmp_path / "made"))
    graph = freeze.freeze(loaded, loaded.signatures["serving_default"]).graph
    imported = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    (relu,) = (one for one in imported.graph.get_operations() if one.type == "Relu")
    assert relu.inputs[0].shape.as_list() == [None, 5, 3]


def test_made_up_input_is_of_the_type_that_is_served() -> None:
    inputs = [Tensor(name="image", dtype="UINT8", shape=(-1, 64)), Tensor(name="x", dtype="FP16", shape=(-1, 64))]
    batch = samples.batch(inputs, 4, samples.sample(inputs, 1, {}))
    assert [values.dtype for values in batch.values()] == [np.uint8, np.float16]
    assert batch["image"].max() > 200, "over all that a byte holds"


class Several(tf.Module):
    """Inputs of several types, shapes and kinds."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 4], tf.float32, name="x"),
            tf.TensorSpec([None, 4], tf.int32, name="ids"),
            tf.TensorSpec([None, 4], tf.float64, name="wide"),
            tf.TensorSpec([None, 4], tf.uint8, name="image"),
            tf.TensorSpec([None], tf.float32, name="price"),
            tf.TensorSpec(None, tf.float32, name="anything"),
            tf.TensorSpec([], tf.float32, name="keep_prob"),
        ],
        autograph=False,
    )
    def __call__(self, x: Any, ids: Any, wide: Any, image: Any, price: Any, anything: Any, keep_prob: Any) -> Any:
        whole = x + tf.cast(ids, tf.float32) + tf.cast(wide, tf.float32) + tf.cast(image, tf.float32)
        return {"y": whole * keep_prob + tf.reduce_sum(price) + tf.reduce_sum(anything)}


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several") / "model"
    module = Several()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.__call__})
    return folder


THREE = {"dtype": "UINT8", "offset": ["1", "2", "3"]}


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("X1", BYTES, "has 'X1', which is no input of pvc://models/net: there is 'anything', 'ids'"),
        ("pric", BYTES, "has 'pric', which is no input .* did you mean 'price'"),
        ("ids", BYTES, "has 'ids' served as UINT8, and the input .* takes INT32: only FP32 .* Leave 'ids' out"),
        ("wide", HALVES, "takes FP64: only FP32 can be served in another type"),
        ("image", {"dtype": "UINT8"}, "takes UINT8: only FP32 can be served in another type"),
        (
            "x",
            THREE,
            r"3 numbers for the channels of 'x', .* has the shape .None, 4., whose last dimension is not of 3",
        ),
        ("price", THREE, "3 numbers for the channels of 'price', .* give one number for all"),
        ("anything", THREE, "3 numbers for the channels of 'anything', .* give one number for all"),
        ("keep_prob", BYTES, "has 'keep_prob', which spec.source.values binds, so that no request"),
    ],
)
def test_an_input_that_cannot_be_served_so_is_refused_with_the_way_out(
    several: Path, tmp_path: Path, name: str, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(SignatureNotFound, match=f"spec.conversion.inputs has .*{told}|spec.conversion.inputs {told}"):
        bind(several, tmp_path / "made", {"keep_prob": 0.5}, **{name: given})


def test_a_part_of_a_ragged_input_is_refused(tmp_path: Path) -> None:
    class Ragged(tf.Module):
        @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.float32, ragged_rank=1)], autograph=False)
        def __call__(self, x: Any) -> dict[str, Any]:
            return {"sums": tf.reduce_sum(x, axis=1)}

    model = Ragged()
    tf.saved_model.save(model, str(tmp_path / "model"), signatures={"serving_default": model.__call__})
    values = next(
        name
        for name, spec in tf.saved_model.load(str(tmp_path / "model"))
        .signatures["serving_default"]
        .structured_input_signature[1]
        .items()
        if spec.dtype == tf.float32
    )
    with pytest.raises(SignatureNotFound, match=r"are the parts of one ragged tensor .* only a dense input"):
        bind(tmp_path / "model", tmp_path / "made", **{values: BYTES})


def test_an_unknown_input_ends_a_conversion_as_the_users_own_mistake(pictures: Path, tmp_path: Path) -> None:
    box = Box(tmp_path, name="pictures", models=pictures)
    box.spec["conversion"]["inputs"] = {"imag": BYTES}
    ended = fetched(box).run("convert")
    assert (ended.code, ended.termination["reason"]) == (14, "SignatureNotFound")
    assert "spec.conversion.inputs has 'imag', which is no input of pvc://models/pictures" in ended.message
    assert "did you mean 'image'" in ended.message


Data = Callable[[dict[str, Any]], Box]


@pytest.fixture
def with_data(pictures: Path, tmp_path: Path) -> Data:
    """A function from arrays to a box whose model is compared on them, its pictures served as bytes."""

    def make(arrays: dict[str, Any]) -> Box:
        box = Box(tmp_path, name="pictures", models=pictures)
        (box.pvc / "data").mkdir()
        np.savez(box.pvc / "data/samples.npz", **arrays)
        box.spec["verification"] = {"uri": "pvc://data/samples.npz"}
        box.spec["conversion"]["inputs"] = {"image": TORCH}
        return box

    return make


def test_data_is_what_clients_send(with_data: Data) -> None:
    box = with_data({"image": bytes_of((6, 8, 8, 3))})
    summary = converted(box, {"image": TORCH})
    assert summary["verification"]["uri"] == "pvc://data/samples.npz"
    assert summary["verification"]["samples"] >= 6


def test_data_as_the_model_itself_takes_it_is_refused_with_the_way_out(with_data: Data) -> None:
    box = with_data({"image": by_numpy(bytes_of((6, 8, 8, 3)), TORCH)})
    ended = fetched(box).run("convert")
    assert (ended.code, ended.termination["reason"]) == (15, "CalibrationDataUnfit")
    told = (
        r"samples for the input 'image' are float32, and it takes uint8: save them as such, as clients send them, "
        r"which is before the scale and offset of spec\.conversion\.inputs"
    )
    assert re.search(told, ended.message), ended.message
