"""What the status says to those who ask the server."""

import json
from typing import Any

import pytest

from tftrt_operator.api.status import MOST_NAME, MOST_TENSORS, ServedTensor
from tftrt_operator.api.trtmodel import TRTModel
from tftrt_operator.domain.how_to_ask import batching, tensors
from tftrt_operator.domain.manifests import names
from tftrt_operator.domain.manifests.deployment import deployment
from tftrt_operator.domain.manifests.service import service
from tftrt_operator.domain.record import Tensor, parse_record, parse_summary, record_text
from tftrt_operator.domain.sentences import left_out

from .builders import CPU, engine_record, summary, trtmodel

MODEL = trtmodel(conversion={"maxBatchSize": 8}, serving={"runtime": "cpu"})
APART = {"mode": "Disabled", "reason": "ItemsInteract", "message": "output 'y' differs by 0.5 of its largest value"}
TOGETHER = {"mode": "Dynamic", "reason": "ItemsIndependent", "message": "8 samples of made-up input are answered alike"}
NO_BATCHES = {"mode": "Disabled", "reason": "NoBatches", "message": "input 'keep_prob' is a scalar"}
LONG = {"sampleBytes": 800, "texts": False}
TEXT = {"name": "words", "dtype": "BYTES", "shape": [-1]}


@pytest.mark.parametrize(
    ("model", "changes", "mode", "reason"),
    [
        (MODEL, {"batching": TOGETHER}, "Dynamic", "ItemsIndependent"),
        (MODEL, {"batching": APART}, "Disabled", "ItemsInteract"),
        (MODEL, {"batching": TOGETHER, "inputs": [TEXT]}, "Disabled", "TextInput"),
        (MODEL, {"batching": APART, "inputs": [TEXT]}, "Disabled", "ItemsInteract"),
        (MODEL, {}, "Dynamic", "NotChecked"),
        (MODEL, {"inputs": None}, "Dynamic", "NotChecked"),
        (MODEL, {"batching": TOGETHER, "inputs": None, "signature": LONG}, "Dynamic", "ItemsIndependent"),
        (MODEL, {"batching": TOGETHER, "inputs": None, "signature": LONG | {"texts": True}}, "Disabled", "TextInput"),
        (MODEL, {"batching": NO_BATCHES, "batched": False, "batchSizes": [1]}, "Disabled", "NoBatches"),
        (
            MODEL,
            {"batching": NO_BATCHES, "batched": False, "batchSizes": [1], "inputs": [TEXT]},
            "Disabled",
            "NoBatches",
        ),
        (trtmodel(), {}, "Disabled", "LargestBatchIsOne"),
    ],
)
def test_the_status_says_whether_requests_are_put_together_and_why(
    model: TRTModel, changes: dict[str, Any], mode: str, reason: str
) -> None:
    found = batching(summary(model, **changes))
    assert (found.mode, found.reason) == (mode, reason)
    assert found.message


def test_the_condition_names_outputs_that_are_not_served() -> None:
    assert left_out(summary(MODEL)) == ""
    assert "“'version', 'anchors'”" in left_out(summary(MODEL, leftOut=["version", "anchors"]))
    assert "some outputs" in left_out(summary(MODEL, leftOut=None))


@pytest.mark.parametrize(
    ("source", "told"), [("image/flat", "image/flat"), (None, None), ("a" * (MOST_NAME + 1), None)]
)
def test_what_the_model_itself_calls_a_tensor_is_told(source: str | None, told: str | None) -> None:
    made = summary(MODEL, inputs=[{"name": "image_flat", "dtype": "FP32", "shape": [-1, 4], "source": source}])
    assert tensors(made.inputs, made.batched) == (
        ServedTensor(name="image_flat", datatype="FP32", shape=(-1, 4), source=told),
    )


def test_what_was_seen_is_kept_in_the_record_and_a_record_without_it_is_read() -> None:
    record = engine_record(MODEL, batching=APART)
    text = record_text(record)
    assert parse_record(text) == record
    older = json.loads(text)
    del older["summary"]["batching"]
    assert parse_record(json.dumps(older)) == engine_record(MODEL)


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "Off"},
        {"reason": "two words"},
        {"message": "a" * 513},
        {"message": "Ready\x1b[31m"},
        {"message": "a\nb"},
    ],
)
def test_what_no_converter_says_of_batching_is_no_summary(changes: dict[str, str]) -> None:
    told = summary(MODEL, batching=APART).model_dump(by_alias=True, mode="json")
    assert parse_summary(json.dumps(told), "") is not None
    assert parse_summary(json.dumps(told | {"batching": APART | changes}), "") is None


def test_the_server_is_told_only_where_requests_stay_apart() -> None:
    """Other servers' pod templates stay as they are: nobody's restart for that."""

    def task(**changes: Any) -> dict[str, Any]:
        body = deployment(MODEL, CPU, engine_record(MODEL, **changes), None, 1).body
        found: dict[str, Any] = json.loads(body["spec"]["template"]["metadata"]["annotations"][names.SPEC_ANNOTATION])
        return found

    assert task(batching=APART) == task() | {"batching": "Disabled"}
    assert "batching" not in task()
    assert task(batching=TOGETHER) == task()


def test_tensors_are_told_as_they_travel() -> None:
    vector = Tensor(name="words", dtype="BYTES", shape=(-1,))
    picture = Tensor(name="image", dtype="FP32", shape=(-1, 224, 224, 3))
    assert tensors([vector, picture], batched=True) == (
        ServedTensor(name="words", datatype="BYTES", shape=(-1, 1)),
        ServedTensor(name="image", datatype="FP32", shape=(-1, 224, 224, 3)),
    )


def test_tensors_of_a_model_without_batches_travel_as_they_are_and_a_scalar_as_a_vector_of_one() -> None:
    scalar = Tensor(name="keep_prob", dtype="FP32", shape=())
    values = Tensor(name="values", dtype="FP32", shape=(-1,))
    assert tensors([scalar, values], batched=False) == (
        ServedTensor(name="keep_prob", datatype="FP32", shape=(1,)),
        ServedTensor(name="values", datatype="FP32", shape=(-1,)),
    )


def test_a_signature_that_is_longer_than_a_status_holds_is_left_out() -> None:
    tensor = Tensor(name="x", dtype="FP32", shape=(-1, 4))
    assert tensors([tensor] * MOST_TENSORS, batched=True) is not None
    assert tensors([tensor] * (MOST_TENSORS + 1), batched=True) is None
    assert tensors([Tensor(name="x" * 254, dtype="FP32", shape=(-1, 4))], batched=True) is None
    assert tensors(None, batched=True) is None


def test_gateways_learn_from_the_service_that_grpc_is_http_2_without_tls() -> None:
    ports = {port["name"]: port.get("appProtocol") for port in service(MODEL).body["spec"]["ports"]}
    assert ports == {"http": "http", "grpc": "kubernetes.io/h2c", "metrics": None}
