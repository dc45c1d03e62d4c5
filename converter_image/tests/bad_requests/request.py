"""A request to the model `several` of `models.py`, right or wrong, and how each protocol writes it."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

MODEL = "several"
LARGEST_BATCH = 4
OUTPUTS = ("upper", "total", "brightness", "echo")
IMAGE = (4, 4, 3)


@dataclass(frozen=True)
class Tensor:
    """An input as it travels: whatever it says of itself need not be so."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes


@dataclass(frozen=True)
class Request:
    """What is asked for, of which model."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...] = OUTPUTS
    model: str = MODEL
    version: str = ""

    def but(self, changed: str, **changes: Any) -> Request:
        """The same with an input changed."""
        return replace(
            self, inputs=tuple(replace(one, **changes) if one.name == changed else one for one in self.inputs)
        )

    def without(self, name: str) -> Request:
        """The same without an input."""
        return replace(self, inputs=tuple(one for one in self.inputs if one.name != name))

    @property
    def path(self) -> str:
        """Where HTTP asks for it."""
        version = f"/versions/{self.version}" if self.version else ""
        return f"/v2/models/{self.model}{version}/infer"

    def header(self) -> bytes:
        """The JSON before the binary data of HTTP."""
        inputs = [
            {
                "name": one.name,
                "datatype": one.datatype,
                "shape": list(one.shape),
                "parameters": {"binary_data_size": len(one.raw)},
            }
            for one in self.inputs
        ]
        outputs = [{"name": name, "parameters": {"binary_data": False}} for name in self.outputs]
        return json.dumps({"inputs": inputs, "outputs": outputs}).encode()

    def body(self) -> bytes:
        """HTTP's body: the JSON, and the data of all inputs."""
        return self.header() + b"".join(one.raw for one in self.inputs)

    def message(self) -> bytes:
        """The protobuf message of gRPC."""
        made = service_pb2.ModelInferRequest(model_name=self.model, model_version=self.version)
        for one in self.inputs:
            made.inputs.add(name=one.name, datatype=one.datatype, shape=one.shape)
        for name in self.outputs:
            made.outputs.add(name=name)
        made.raw_input_contents.extend(one.raw for one in self.inputs)
        return bytes(made.SerializeToString())


@dataclass(frozen=True)
class Question:
    """What a request asks, and what is the right answer to it."""

    number: int
    rows: int = 1
    milliseconds: float = 0.0

    @property
    def request(self) -> Request:
        """As a client writes it; it differs from that of every other number."""
        rows, number = self.rows, self.number
        words = [f"w{number}".encode(), b"x"] * rows
        ids = np.full((rows, 1 + number % 3), number % 1000, np.int32)
        image = np.full((rows, *IMAGE), number % 64, np.float32)
        milliseconds = np.full((rows, 1), self.milliseconds, np.float32)
        return Request(
            (
                Tensor("words", "BYTES", (rows, 2), b"".join(struct.pack("<I", len(word)) + word for word in words)),
                Tensor("ids", "INT32", ids.shape, ids.tobytes()),
                Tensor("image", "FP32", image.shape, image.tobytes()),
                Tensor("milliseconds", "FP32", milliseconds.shape, milliseconds.tobytes()),
            )
        )

    @property
    def answer(self) -> dict[str, list[Any]]:
        """The values of each output; whole numbers, so that nothing is rounded."""
        number, rows = self.number, self.rows
        return {
            "upper": [f"W{number}", "X"] * rows,
            "total": [(number % 1000) * (1 + number % 3)] * rows,
            "brightness": [(number % 64) * IMAGE[0] * IMAGE[1]] * (rows * IMAGE[2]),
            "echo": [self.milliseconds] * rows,
        }

    def is_answered_by_json(self, body: bytes) -> bool:
        """Whether HTTP's answer is the right one."""
        return {one["name"]: one["data"] for one in json.loads(body)["outputs"]} == self.answer

    def is_answered_by(self, message: bytes) -> bool:
        """Whether gRPC's answer is the right one."""
        response = service_pb2.ModelInferResponse.FromString(message)
        found: dict[str, list[Any]] = {}
        for output, raw in zip(response.outputs, response.raw_output_contents):
            found[output.name] = _texts(raw) if output.datatype == "BYTES" else np.frombuffer(raw, np.float32).tolist()
        return found == self.answer


def _texts(raw: bytes) -> list[str]:
    """What BYTES hold: each a length of four bytes, and so many bytes."""
    found = []
    while raw:
        end = 4 + int.from_bytes(raw[:4], "little")
        found.append(raw[4:end].decode())
        raw = raw[end:]
    return found
