"""Clients of the Open Inference Protocol as users have them, with connections of their own, none of which asks twice.

What a client's library does by itself stays, for it is what a user gets: tritonclient's HTTP sends again on a new
connection where the one that it kept was closed before an answer began, and gRPC where the server says that it has not
seen a call. `httpx` and `channel`, a gRPC channel with retries switched off, do neither.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

HTTP_PORT, GRPC_PORT = 8000, 8001
LONGEST_SECONDS = 60.0
"""After which a call counts as failed."""
INPUT, OUTPUT = "images", "totals"

Images = NDArray[np.uint8]
Totals = NDArray[np.float32]
Ask = Callable[[Images], Totals]


def tritonclient_http(address: str, model: str) -> Ask:
    """NVIDIA's client of HTTP, with binary data."""
    from tritonclient import http

    client = http.InferenceServerClient(
        f"{address}:{HTTP_PORT}", connection_timeout=LONGEST_SECONDS, network_timeout=LONGEST_SECONDS
    )

    def ask(images: Images) -> Totals:
        tensor = http.InferInput(INPUT, list(images.shape), "UINT8")
        tensor.set_data_from_numpy(images)
        found: Totals = client.infer(model, [tensor]).as_numpy(OUTPUT)
        return found

    return ask


def tritonclient_grpc(address: str, model: str) -> Ask:
    """NVIDIA's client of gRPC."""
    from tritonclient import grpc

    client = grpc.InferenceServerClient(f"{address}:{GRPC_PORT}")

    def ask(images: Images) -> Totals:
        tensor = grpc.InferInput(INPUT, list(images.shape), "UINT8")
        tensor.set_data_from_numpy(images)
        found: Totals = client.infer(model, [tensor], client_timeout=LONGEST_SECONDS).as_numpy(OUTPUT)
        return found

    return ask


def httpx(address: str, model: str) -> Ask:
    """A general client of HTTP that keeps its connection; the input is binary, the answer JSON."""
    from httpx import Client

    client = Client(base_url=f"http://{address}:{HTTP_PORT}", timeout=LONGEST_SECONDS)

    def ask(images: Images) -> Totals:
        tensor = {"name": INPUT, "datatype": "UINT8", "shape": images.shape}
        head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": images.nbytes}}]}).encode()
        response = client.post(
            f"/v2/models/{model}/infer",
            content=head + images.tobytes(),
            headers={"Inference-Header-Content-Length": str(len(head))},
        )
        response.raise_for_status()
        (output,) = response.json()["outputs"]
        return np.array(output["data"], np.float32).reshape(output["shape"])

    return ask


def channel(address: str, model: str) -> Ask:
    """A plain gRPC channel without retries."""
    import grpc
    from tritonclient.grpc import service_pb2

    opened = grpc.insecure_channel(f"{address}:{GRPC_PORT}", [("grpc.enable_retries", 0)])
    infer = opened.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=service_pb2.ModelInferRequest.SerializeToString,
        response_deserializer=service_pb2.ModelInferResponse.FromString,
    )

    def ask(images: Images) -> Totals:
        request = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[images.tobytes()])
        request.inputs.add(name=INPUT, datatype="UINT8", shape=images.shape)
        answer: Any = infer(request, timeout=LONGEST_SECONDS)
        return np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(answer.outputs[0].shape)

    return ask


CLIENTS: dict[str, Callable[[str, str], Ask]] = {
    "tritonclient.http": tritonclient_http,
    "httpx": httpx,
    "tritonclient.grpc": tritonclient_grpc,
    "grpc": channel,
}
REPEATS_NOTHING = ("httpx", "grpc")
"""Of these, those whose libraries send nothing a second time by themselves: what the others hide shows here."""
