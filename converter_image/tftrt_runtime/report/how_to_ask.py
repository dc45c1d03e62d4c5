"""What a client has to know: the tensors as they travel, and a request that can be pasted into a shell."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tftrt_runtime.contract.artifact import Conversion, Sample, Tensor
from tftrt_runtime.contract.spec import ModelName
from tftrt_runtime.model import samples

HTTP_PORT = 8000
# Triton writes and reads them as raw bytes alone.
BINARY_ONLY = {"FP16", "BF16"}
YOUR_TEXT = "your text"
# More values than these are sent as raw bytes: nobody pastes a picture as text.
MOST_VALUES = 64


@dataclass(frozen=True)
class Field:
    """A tensor of a request or an answer; `shape` is as it travels, the batch first if it has one; -1 is any size.

    `source` is what the model itself calls it, where that is another name.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    source: str | None

    @property
    def binary_only(self) -> bool:
        """Whether it never travels as JSON."""
        return self.datatype in BINARY_ONLY


@dataclass(frozen=True)
class HowToAsk:
    """The fields, and a command for a shell that asks for one item; `zeros`: some of it is zeros in place of data."""

    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    command: str
    zeros: bool


def how_to_ask(model: ModelName, conversion: Conversion) -> HowToAsk:
    """How clients in the cluster ask the model."""
    sent = _inputs(conversion)
    zeros = sum(tensor["parameters"]["binary_data_size"] for tensor in sent if "parameters" in tensor)
    outputs = tuple(_field(tensor, conversion.batched) for tensor in conversion.outputs)
    request: dict[str, Any] = {"inputs": sent}
    binary_answer = any(field.binary_only for field in outputs)
    if binary_answer:
        request["parameters"] = {"binary_data_output": True}
    return HowToAsk(
        inputs=tuple(_field(tensor, conversion.batched) for tensor in conversion.inputs),
        outputs=outputs,
        command=_command(model, request, zeros, binary_answer),
        zeros=zeros > 0,
    )


def _field(tensor: Tensor, batched: bool) -> Field:
    shape = _on_the_wire(tensor.shape, batched)
    return Field(name=tensor.name, datatype=tensor.dtype, shape=shape, source=tensor.source)


def _on_the_wire(shape: Sequence[int], batched: bool) -> tuple[int, ...]:
    """Triton has no tensor of the batch alone: a vector is a column. Without batches a scalar is a vector of one."""
    return (*shape, 1) if len(shape) == (1 if batched else 0) else tuple(shape)


def _inputs(conversion: Conversion) -> list[dict[str, Any]]:
    """One item of what the unconverted model has answered, or a call; large tensors by their number of bytes."""
    sample = conversion.sample or Sample(openDimension=1, batched=conversion.batched)
    made = samples.batch(conversion.inputs, 1, sample)
    found = []
    for tensor in conversion.inputs:
        values = made[tensor.name]
        if tensor.name in sample.texts:  # a file of bytes, or a text that is the user's own: neither is shown
            values = np.full(values.shape, YOUR_TEXT.encode(), np.object_)
        values = values.reshape(_on_the_wire(values.shape, conversion.batched))
        sent: dict[str, Any] = {"name": tensor.name, "datatype": tensor.dtype, "shape": list(values.shape)}
        if tensor.dtype in BINARY_ONLY or (tensor.dtype != "BYTES" and math.prod(values.shape) > MOST_VALUES):
            sent["parameters"] = {"binary_data_size": values.nbytes}
        else:
            sent["data"] = _texts(values) if tensor.dtype == "BYTES" else _numbers(values)
        found.append(sent)
    return found


def _texts(values: Any) -> Any:
    return np.vectorize(lambda text: text.decode(), otypes=[object])(values).tolist()


def _numbers(values: Any) -> Any:
    return np.round(values, 4).astype(np.float64).round(4).tolist() if values.dtype.kind == "f" else values.tolist()


def _command(model: ModelName, request: dict[str, Any], zeros: int, binary_answer: bool) -> str:
    """For a POSIX shell: the header's characters are its bytes, for it is ASCII."""
    url = f"http://{model.name}.{model.namespace}.svc:{HTTP_PORT}/v2/models/{model.name}/infer"
    text = json.dumps(request).replace("'", "\\u0027")
    to_file = " --output answer.bin" if binary_answer else ""
    if not zeros:
        return f"curl -sS --fail-with-body{to_file} {url} \\\n  -d '{text}'"
    return (
        f"HEADER='{text}'\n"
        f'{{ printf %s "$HEADER"; head -c {zeros} /dev/zero; }} |\n'
        f"  curl -sS --fail-with-body{to_file} {url} \\\n"
        '  -H "Inference-Header-Content-Length: ${#HEADER}" --data-binary @-'
    )
