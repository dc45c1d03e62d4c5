"""What is wrong with one request is told to its client, and is no other's trouble."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.box import Server
from tests.test_serve import clients

Arrays = dict[str, Any]


def posted(server: Server, name: str, inputs: list[dict[str, Any]], **more: object) -> tuple[int, dict[str, Any]]:
    """The status and the answer of a request in JSON."""
    body = json.dumps({"inputs": inputs, **more}).encode()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.http}/v2/models/{name}/infer", body) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_value_that_the_model_refuses_is_the_clients_mistake(served: Callable[[str], Server]) -> None:
    server = served("picky")
    status, answer = posted(server, "picky", [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1000.0]}])
    assert (status, answer["error"]) == (400, answer["error"])
    assert "The model refused the request: InvalidArgumentError" in answer["error"]
    assert "x is too large" in answer["error"]
    module, client = clients(server)[1]
    tensor = module.InferInput("x", [1, 1], "FP32")
    tensor.set_data_from_numpy(np.full((1, 1), 1000, np.float32))
    with pytest.raises(InferenceServerException) as refused:
        client.infer("picky", [tensor])
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"


def answer_or_code(stub: Any, request: Any) -> str:
    """The score that a request gets, or the code of its error."""
    try:
        answer = stub.ModelInfer(request)
    except tritonclient.grpc.grpc.RpcError as error:
        return str(error.code().name)
    contents = dict(zip((output.name for output in answer.outputs), answer.raw_output_contents))
    return str(np.frombuffer(contents["score"], np.float32)[0])


def test_malformed_texts_are_no_other_clients_trouble(served: Callable[[str], Server]) -> None:
    server = served("table")
    honest, malformed = b"\x08\x00\x00\x00sample 2", b"\xff\xff\x00\x00abc"
    told: Counter[str] = Counter()

    def client(content: bytes) -> None:
        with tritonclient.grpc.grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            request = service_pb2.ModelInferRequest(model_name="table", raw_input_contents=[content])
            request.inputs.add(name="words", datatype="BYTES", shape=[1, 1])
            for _ in range(100):
                told[f"{content!r} {answer_or_code(stub, request)}"] += 1

    threads = [threading.Thread(target=client, args=(content,)) for content in (honest, malformed) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == {f"{honest!r} 20.0": 200, f"{malformed!r} INVALID_ARGUMENT": 200}


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        ("picky", {"x": np.zeros((0, 1), np.float32)}),  # requests are batched
        ("table", {"words": np.zeros((0, 1), np.object_)}),  # they are not; and the model's own input is a vector
    ],
)
def test_a_request_without_an_item_is_refused(served: Callable[[str], Server], model: str, inputs: Arrays) -> None:
    for module, client in clients(served(model)):
        tensors = []
        for name, array in inputs.items():
            tensors.append(module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)))
            tensors[-1].set_data_from_numpy(array)
        with pytest.raises(InferenceServerException, match="it has no item") as refused:
            client.infer(model, tensors)
        assert refused.value.status() in ("400", "StatusCode.INVALID_ARGUMENT")


def test_fp16_travels_as_binary_only(served: Callable[[str], Server]) -> None:
    """As docs/metrics.md says: as JSON it is refused, though it was computed."""
    server = served("every-type")
    names = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32"]
    values = {name: np.zeros((1, 2), name) for name in (*names, "float64")} | {"string": np.full((1, 2), b"x", object)}
    module, client = clients(server)[0]
    tensors = []
    for name, value in values.items():
        tensors.append(module.InferInput(f"in_{name}", [1, 2], np_to_triton_dtype(value.dtype)))
        tensors[-1].set_data_from_numpy(value)

    def output(name: str, binary: bool) -> Any:
        return module.InferRequestedOutput(f"out_{name}", binary_data=binary)

    answer = client.infer("every-type", tensors, outputs=[output("float16", True), output("float32", False)])
    assert answer.as_numpy("out_float16").dtype == np.float16
    with pytest.raises(InferenceServerException, match="FP16") as refused:
        client.infer("every-type", tensors, outputs=[output("float16", False)])
    assert refused.value.status() == "400"
