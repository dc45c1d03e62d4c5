"""The ways in which a request is wrong, and what each protocol answers to it.

That it is the client's fault is 4xx over HTTP, and over gRPC INVALID_ARGUMENT, NOT_FOUND, CANCELLED or
DEADLINE_EXCEEDED. Where the software that this project builds on answers otherwise, before anything of the project sees
the request, the case says whose answer it is.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from tests.bad_requests.grpc import Grpc
from tests.bad_requests.http import CLOSED_BY_CLIENT, CLOSED_BY_SERVER, Http, head, written
from tests.bad_requests.request import LARGEST_BATCH, Question, Request, Tensor
from tftrt_runtime.serve import limits

HTTP, GRPC = "HTTP", "gRPC"
TRITON = "tritonserver 2.51.0"
GRPC_CORE = "gRPC, wherever a message is no protobuf"
IMPATIENT_SECONDS = 0.001
# More than the largest batch by far: about 1 MB.
MANY_ROWS = 4_000
# Of one that is sent and left, beside some that keep the server busy meanwhile.
LEFT_AT_ONCE = 8
BUSY_MILLISECONDS = 20.0
LONG_MILLISECONDS = 60.0
NOISE = 64


@dataclass
class Clients:
    """One sender's connections."""

    http: Http
    grpc: Grpc


@dataclass(frozen=True)
class Case:
    """A way to be wrong over one protocol: what must come of it, and how to do it; one act may be several requests."""

    kind: str
    variant: str
    protocol: str
    expected: str
    send: Callable[[Clients], list[str]]
    own: str = ""  # whose the answer is, where the protocol would have another one
    beside: int = 0  # right requests of each act, which are answered
    arrives: bool = False  # whether each request has reached the model's queue before its client leaves

    @property
    def name(self) -> tuple[str, str, str]:
        """By which it is told from the others."""
        return self.kind, self.variant, self.protocol


def cases() -> list[Case]:
    """All of them."""
    return [*_malformed(), *_bytes(), *_left()]


def _malformed() -> Iterable[Case]:
    """Requests that both protocols can write."""
    good = Question(7).request
    several = Question(7, rows=LARGEST_BATCH + 1).request
    many = Question(7, rows=MANY_ROWS).request
    image, words = good.inputs[2], good.inputs[0]

    yield from _both("wrong shape", "another size", good.but("image", shape=(1, 4, 4, 2), raw=image.raw[:128]))
    yield from _both("wrong shape", "a dimension too few", good.but("image", shape=(1, 16, 3)))
    yield from _both("wrong shape", "a dimension too many", good.but("image", shape=(1, 4, 4, 3, 1)))
    negative = good.but("image", shape=(1, -4, 4, 3))
    yield from _both("wrong shape", "a negative size", negative, "500", http_own=TRITON)
    yield from _both("wrong shape", "batches that differ", good.but("image", shape=(2, 4, 4, 3), raw=image.raw * 2))
    yield from _both("wrong shape", "fewer bytes than it says", good.but("image", raw=image.raw[:-4]))
    yield from _both("wrong shape", "more bytes than it says", good.but("image", raw=image.raw + bytes(4)))

    yield from _both("wrong type", "FP64 for FP32", good.but("image", datatype="FP64", raw=image.raw * 2))
    yield from _both("wrong type", "numbers for text", good.but("words", datatype="INT32", raw=bytes(8)))
    yield from _both("wrong type", "text for numbers", good.but("ids", datatype="BYTES", raw=words.raw[:10]))
    yield from _both("wrong type", "one that does not exist", good.but("image", datatype="FP31"))

    yield from _both("wrong name", "of an input", good.but("image", name="picture"))
    yield from _both("wrong name", "of an output", replace(good, outputs=("total", "sum")))
    yield from _both("wrong name", "of the model", replace(good, model="nothing"), "404", "NOT_FOUND")
    yield from _both("wrong name", "of the version", replace(good, version="7"), "404", "NOT_FOUND")

    yield from _both("wrong number of inputs", "one missing", good.without("ids"))
    yield from _both("wrong number of inputs", "none", replace(good, inputs=()))
    extra = Tensor("more", "FP32", (1, 1), bytes(4))
    yield from _both("wrong number of inputs", "one too many", replace(good, inputs=(*good.inputs, extra)))
    yield from _both("wrong number of inputs", "one twice", replace(good, inputs=(*good.inputs, image)))

    yield from _both("too large", "a batch of one too many", several)
    yield from _both("too large", f"a batch of {MANY_ROWS}", many)

    none = Question(7, rows=0).request
    yield from _both("zero items", "in all inputs", none)
    yield from _both("zero items", "in one input", good.but("image", shape=(0, 4, 4, 3), raw=b""))

    longer = struct.pack("<I", 0xFFFF) + b"abc"
    yield from _both("malformed text", "longer than it is", good.but("words", raw=words.raw[:6] + longer))
    yield from _both("malformed text", "one element of two", good.but("words", raw=words.raw[:6]))
    yield from _both("malformed text", "half a length", good.but("words", raw=words.raw[:2]))

    large = struct.pack("<i", 5_000)
    yield from _both("refused by the model", "an id out of range", good.but("ids", shape=(1, 1), raw=large))


def _bytes() -> Iterable[Case]:
    """What is no request at all, and what ends before it is one."""
    good = Question(7).request
    path, header, message = good.path, len(good.header()), good.message()
    noise = random.Random(7).randbytes(NOISE)

    def json_body(**changes: object) -> bytes:
        return json.dumps({**json.loads(good.header()), **changes}).encode()

    def post(variant: str, body: bytes, header: str = "", expected: str = "400") -> Case:
        headers = {"Inference-Header-Content-Length": header} if header else None
        own = TRITON if expected == "500" else ""
        return Case("garbage", variant, HTTP, expected, lambda to: [to.http.post(path, body, headers)[0]], own)

    yield post("bytes for JSON", noise, expected="500")
    yield post("JSON of something else", b"[1, 2, 3]", expected="500")
    yield post("inputs that are none", json_body(inputs="none"), expected="500")
    yield post("values of all kinds", json_body(inputs=[{"name": "ids", "datatype": "INT32", "shape": ["a"]}]))
    yield post("a JSON longer than the body", good.body(), "1000000")
    yield post("a JSON whose length is no number", good.body(), "some")
    yield post("a JSON cut short", good.body(), str(header // 2), expected="500")
    yield Case("garbage", "bytes for HTTP", HTTP, CLOSED_BY_SERVER, lambda to: [to.http.raw(noise + b"\r\n\r\n")])

    def send(kind: str, variant: str, sent: bytes, expected: str) -> Case:
        own = GRPC_CORE if expected == "INTERNAL" else ""
        return Case(kind, variant, GRPC, expected, lambda to: [to.grpc.send(sent)[0]], own)

    yield send("garbage", "bytes for protobuf", b"\xff" * NOISE, "INTERNAL")
    yield send("garbage", "an empty message", b"", "NOT_FOUND")
    yield Case("garbage", "bytes for HTTP/2", GRPC, CLOSED_BY_SERVER, lambda to: [to.grpc.raw(noise)])

    whole = written(good)
    half, longer = whole[: -len(good.body()) // 2], head(good, 2 * len(good.body())) + good.body()
    yield Case("cut off", "the client dies in the body", HTTP, CLOSED_BY_CLIENT, lambda to: [to.http.left(half)])
    yield Case("cut off", "the body ends too soon", HTTP, CLOSED_BY_SERVER, lambda to: [to.http.raw(longer)])
    yield Case("cut off", "the client dies in the message", GRPC, CLOSED_BY_CLIENT, lambda to: [to.grpc.cut_off(good)])
    yield send("cut off", "the message ends too soon", message[:-7], "INTERNAL")


def _left() -> Iterable[Case]:
    """Right requests whose client does not wait for the answer."""
    # As large as a batch may be: smaller ones would be put together, and leave the server idle.
    busy = [
        Question(number, rows=LARGEST_BATCH, milliseconds=BUSY_MILLISECONDS) for number in range(1, limits.SLOTS + 2)
    ]
    victims = [Question(9, milliseconds=BUSY_MILLISECONDS).request] * LEFT_AT_ONCE
    short, long = Question(4), Question(5, milliseconds=LONG_MILLISECONDS).request

    # When the first is answered all slots have another one, and what was sent after them waits.
    yield from _given_up("cancelled in the queue", busy, victims)
    # Two are worked on at a time: when the shorter one is answered, the other one has begun.
    yield from _given_up("cancelled in flight", [short], [long])

    hurried, expected = IMPATIENT_SECONDS, "DEADLINE_EXCEEDED"
    yield Case("a deadline of 1 ms", "", GRPC, expected, lambda to: [to.grpc.send(long.message(), hurried)[0]])
    yield Case("a deadline of 1 ms", "", HTTP, CLOSED_BY_CLIENT, lambda to: to.http.impatient(long, hurried))


def _given_up(kind: str, first: Sequence[Question], victims: Sequence[Request]) -> Iterable[Case]:
    """Some that are answered, and victims that are given up once the first of them is."""
    beside = len(first)
    yield Case(
        kind, "", HTTP, CLOSED_BY_CLIENT, lambda to: to.http.left_after(first, victims), beside=beside, arrives=True
    )
    yield Case(
        kind, "", GRPC, "CANCELLED", lambda to: to.grpc.cancelled_after(first, victims), beside=beside, arrives=True
    )


def _both(
    kind: str, variant: str, request: Request, http: str = "400", grpc: str = "INVALID_ARGUMENT", http_own: str = ""
) -> Iterable[Case]:
    yield Case(kind, variant, HTTP, http, lambda to: [to.http.infer(request)[0]], http_own)
    yield Case(kind, variant, GRPC, grpc, lambda to: [to.grpc.infer(request)[0]])
