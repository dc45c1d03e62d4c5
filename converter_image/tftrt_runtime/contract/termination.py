"""The termination message: the few bytes by which a container tells the operator how it ended."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from tftrt_runtime import log
from tftrt_runtime.contract.artifact import Summary, Tensor
from tftrt_runtime.contract.errors import Failure

DEFAULT_PATH = Path("/dev/termination-log")  # Kubernetes' own default; it exists in every container and nowhere else

# The kubelet keeps 12 KiB of all of a pod's containers together, so 3,072 bytes of each of a Job's four; where a mesh
# injects two more it is 2,048. What is longer it cuts off, and cut JSON is no JSON.
MAX_BYTES = 2000

# What the operator takes for what a signature does not tell: domain/manifests/deployment.py, which a test compares.
OPEN_DIMENSION = 256
STRING_BYTES = 1024
MOST_CALL_BYTES = 2**60  # no node has as much
BYTES = {"BOOL": 1, "UINT8": 1, "INT8": 1, "UINT16": 2, "INT16": 2, "FP16": 2, "BF16": 2, "UINT32": 4, "INT32": 4}
BYTES |= {"FP32": 4, "UINT64": 8, "INT64": 8, "FP64": 8}

SHORT = 12  # characters: a number of more is written with an exponent
ERRORS = ("maxRelativeError", "maxChannelError", "largerInputError")  # numbers of any size; the rest are shares of 1
TRUE_FP32 = {"fp32P50Microseconds", "fp32Speedup"}
DIGITS = 16  # of a SHA-256 in place of a URI

Told = dict[str, Any]


def of_failure(failure: Failure) -> str:
    """The failure as JSON that fits; of a sentence that is too long the middle is left out.

    It begins with what happened and ends with what to do.
    """
    message = failure.message
    kept = len(message)

    def text() -> str:
        return _json({"version": 1, "code": failure.code, "reason": failure.reason, "message": message})

    while len(text()) > MAX_BYTES:
        kept = kept * 7 // 8
        begin, end = failure.message[: kept - kept // 3], failure.message[len(failure.message) - kept // 3 :]
        message = f"{begin} [...] {end}"
    return text()


def of_summary(summary: Summary) -> str:
    """The summary as JSON that fits: of what is too long, parts are left out one after the other, in this order.

    1. Digits: a number of hundreds of zeros is written with an exponent.
    2. How it compares with true FP32, which the report has and the operator does not ask for.
    3. The name of the output of classes, which is the spec's.
    4. The tensors. Their `signature` takes their place: the bytes of an item, or of a call where the model takes no
       batches, by which the operator sizes shared memory, and whether a request has texts. So it is where a name has
       what cannot be printed, which the operator takes from nobody.
    5. The names of the outputs that are not served: null, where an empty list says that there are none.
    6. The sentence on batching; its mode and its reason stay.
    7. The device's driver.
    8. The URI of the data that was compared on, of which a digest stays.
    9. The URIs of the artifact and of its report: null, and the path below the artifact. The operator knows the store.
    10. The device's name, which is the product in other letters.

    Nothing else grows: it is numbers, hex digits, times, and names that the spec and the operator bound.
    """
    told = summary.model_dump()
    if not all(name.isprintable() for name in _names(summary)):
        told = _without_names_left_out(_without_tensors(told, summary), summary)
    for shorten in SHORTER:
        if len(_json(told)) <= MAX_BYTES:
            break
        told = shorten(told, summary)
    return _json(told)


def _names(summary: Summary) -> Iterator[str]:
    """What the model calls its tensors, which is any text."""
    yield from summary.leftOut
    for tensor in (*summary.inputs, *summary.outputs):
        yield tensor.name
        yield tensor.source or ""


def _without_zeros(told: Told, summary: Summary) -> Told:
    if summary.verification is None:
        return told
    measured = told["verification"]
    long = {name: measured[name] for name in ERRORS if len(measured.get(name) or "") > SHORT}
    shorter = {name: str(Decimal(error).normalize()) for name, error in long.items()}
    return {**told, "verification": {**measured, **shorter}}


def _without_true_fp32(told: Told, summary: Summary) -> Told:
    if summary.benchmark is None:
        return told
    return {**told, "benchmark": {name: value for name, value in told["benchmark"].items() if name not in TRUE_FP32}}


def _without_classes(told: Told, summary: Summary) -> Told:
    if summary.verification is None:
        return told
    measured = {name: value for name, value in told["verification"].items() if name != "top1Output"}
    return {**told, "verification": measured}


def _without_tensors(told: Told, summary: Summary) -> Told:
    signature = {
        "sampleBytes": min(call_bytes((*summary.inputs, *summary.outputs), summary.batched), MOST_CALL_BYTES),
        "texts": any(tensor.dtype == "BYTES" for tensor in summary.inputs),
    }
    return {**told, "inputs": None, "outputs": None, "signature": signature}


def _without_names_left_out(told: Told, summary: Summary) -> Told:
    return {**told, "leftOut": None} if summary.leftOut else told


def _without_sentence(told: Told, summary: Summary) -> Told:
    return told if summary.batching is None else {**told, "batching": {**told["batching"], "message": ""}}


def _without_driver(told: Told, _: Summary) -> Told:
    return {**told, "device": {**told["device"], "driver": ""}}


def _without_data(told: Told, summary: Summary) -> Told:
    measured = summary.verification
    if measured is None or measured.uri is None:
        return told
    scheme = measured.uri.partition("://")[0][:SHORT]
    digest = hashlib.sha256(measured.uri.encode(errors="surrogateescape")).hexdigest()[:DIGITS]
    return {**told, "verification": {**told["verification"], "uri": f"{scheme}://...?sha256={digest}"}}


def _without_places(told: Told, summary: Summary) -> Told:
    report = summary.reportUri and summary.reportUri.removeprefix(f"{summary.artifact}/")
    return {**told, "artifact": None, "reportUri": report}


def _without_name(told: Told, _: Summary) -> Told:
    return {**told, "device": {**told["device"], "name": ""}}


SHORTER: tuple[Callable[[Told, Summary], Told], ...] = (
    _without_zeros,
    _without_true_fp32,
    _without_classes,
    _without_tensors,
    _without_names_left_out,
    _without_sentence,
    _without_driver,
    _without_data,
    _without_places,
    _without_name,
)


def call_bytes(tensors: Iterable[Tensor], batched: bool) -> int:
    """The bytes of an item of these tensors, or of a call where there are no batches."""
    return sum(
        math.prod(OPEN_DIMENSION if size < 0 else size for size in tensor.sizes(batched))
        * BYTES.get(tensor.dtype, STRING_BYTES)
        for tensor in tensors
    )


def _json(told: Told) -> str:
    """As ASCII: each character is a byte."""
    return json.dumps(told, separators=(",", ":"))


def write(text: str) -> None:
    """Put the message where the kubelet reads it; outside a container there is no such place."""
    override = os.environ.get("TFTRT_TERMINATION_LOG")
    path = Path(override) if override else DEFAULT_PATH
    if not override and not path.exists():
        return
    try:
        path.write_text(text)
    except OSError as error:
        # The exit code still tells; a failure to tell more must not hide it.
        log.event("exit", "The termination message could not be written", path=path, error=error)
