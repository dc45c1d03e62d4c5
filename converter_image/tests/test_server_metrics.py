"""What a server says of itself is what its clients saw (docs/metrics.md)."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tests.bad_requests.grpc import Grpc
from tests.bad_requests.http import Http
from tests.bad_requests.request import Request, Tensor
from tests.box import Box, Server, until
from tests.test_dead import ask
from tests.test_serve import clients

Figures = dict[str, float]
SHOWN = Path(__file__).parents[2] / "tests" / "support" / "shown_by_a_server.txt"


def figures(server: Server) -> Figures:
    """All samples, by name and labels as they are written."""
    lines = server.get("/metrics", server.metrics).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def grown(server: Server, before: Figures, name: str) -> float:
    return figures(server)[name] - before.get(name, 0.0)


def eventually(server: Server, before: Figures, expected: Mapping[str, float]) -> None:
    """Wait until each of these has grown by so much: they are counted a moment after the answer."""
    found: Figures = {}
    for _ in until(f"{expected}, not {found}"):
        now = figures(server)
        found.update({name: now.get(name, 0.0) - before.get(name, 0.0) for name in expected})
        if found == expected:
            return


def requests(model: str, code: str) -> str:
    return f'tftrt_requests_total{{code="{code}",model="{model}"}}'


@pytest.fixture(scope="module")
def slow(converted: Callable[..., Box]) -> Server:
    """A server that nobody has asked yet."""
    server = Server(converted("slow"), folder="counted")
    server.wait_until_ready()
    return server


def wait(server: Server, milliseconds: float, rows: int = 4, seconds: float | None = None) -> None:
    """Ask for an answer that takes so long, for at most so many seconds; four rows are put together with none."""
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}") as client:
        tensor = tritonclient.grpc.InferInput("milliseconds", [rows, 1], "FP32")
        tensor.set_data_from_numpy(np.full((rows, 1), milliseconds, np.float32))
        client.infer("slow", [tensor], client_timeout=seconds)


def test_nothing_is_counted_before_somebody_asks(slow: Server) -> None:
    found = figures(slow)
    for code in ("OK", "INVALID_ARGUMENT", "UNAVAILABLE", "CANCELLED", "INTERNAL"):
        assert found[requests("slow", code)] == 0
    for name in ("tftrt_request_duration_seconds_count", "tftrt_batch_size_count", "tftrt_batches_in_flight"):
        assert found[f'{name}{{model="slow"}}'] == 0


def test_a_server_has_every_series_that_expressions_are_tried_on(slow: Server) -> None:
    """Over these the operator's tests evaluate what the examples and docs/metrics.md ask Prometheus for."""
    tried = [line.rpartition(" ")[0] for line in SHOWN.read_text().splitlines() if not line.startswith("#")]
    shown = {name.replace('"slow"', '"resnet50"') for name in figures(slow)}
    assert len(tried) > 30
    assert [name for name in tried if name not in shown and not name.startswith("tftrt_batch_size_bucket")] == []
    assert any(name.startswith('tftrt_batch_size_bucket{model="resnet50",le="') for name in shown)


def test_a_requests_duration_holds_what_was_computed(slow: Server) -> None:
    before = figures(slow)
    wait(slow, 300.0)
    eventually(slow, before, {requests("slow", "OK"): 1, 'tftrt_batch_size_sum{model="slow"}': 4})
    seconds = grown(slow, before, 'tftrt_request_duration_seconds_sum{model="slow"}')
    assert grown(slow, before, 'tftrt_request_duration_seconds_bucket{model="slow",le="0.01"}') == 0
    # 3,000 products of matrices take what they take, and Triton is told as much.
    assert seconds > 0.02
    tritons = grown(slow, before, 'nv_inference_compute_infer_duration_us{model="slow",version="1"}') / 1e6
    assert seconds / 2 < tritons < seconds


def test_the_time_in_tritons_queue_is_right(slow: Server) -> None:
    """Three batches are under way at a time: of six, three wait for about as long as the first ones take."""
    before = figures(slow)
    threads = [threading.Thread(target=wait, args=(slow, 500.0)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(slow, before, {requests("slow", "OK"): 6})
    queued = grown(slow, before, 'nv_inference_queue_duration_us{model="slow",version="1"}') / 1e6
    computed = grown(slow, before, 'tftrt_request_duration_seconds_sum{model="slow"}')
    assert 0.2 * computed < queued < computed


def test_batches_in_flight_are_those_that_are_being_answered(slow: Server) -> None:
    before = figures(slow)
    threads = [threading.Thread(target=wait, args=(slow, 1000.0)) for _ in range(4)]
    for thread in threads:
        thread.start()
    waiting = 'nv_inference_pending_request_count{model="slow",version="1"}'
    for _ in until("three batches in flight, and one request that waits"):
        now = figures(slow)
        if (now['tftrt_batches_in_flight{model="slow"}'], now[waiting]) == (3, 1):
            break
    for thread in threads:
        thread.join()
    eventually(slow, before, {requests("slow", "OK"): 4, 'tftrt_batches_in_flight{model="slow"}': 0, waiting: 0})


def test_what_its_client_no_longer_waits_for_is_not_computed(slow: Server) -> None:
    """Over gRPC: Triton drops it from its queue, and of what it has put together already the backend does."""
    before = figures(slow)

    def one() -> None:
        with suppress(InferenceServerException):
            wait(slow, 400.0, seconds=0.2)

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    canceled = 'nv_inference_request_failure{model="slow",reason="CANCELED",version="1"}'
    for _ in until("all twenty to be computed or dropped"):
        calls = grown(slow, before, 'tftrt_batch_size_count{model="slow"}')
        dropped = grown(slow, before, canceled)
        dropped += figures(slow).get(requests("slow", "CANCELLED"), 0) - before.get(requests("slow", "CANCELLED"), 0)
        if calls + dropped == 20:
            break
    assert dropped >= 15


def test_a_refusal_is_a_failure_with_its_code(served: Callable[[str], Server]) -> None:
    server = served("picky")
    before = figures(server)
    with pytest.raises(InferenceServerException, match=r"INVALID_ARGUMENT.*x is too large"):
        ask(server, "picky", "x", 1000.0)
    eventually(server, before, {requests("picky", "INVALID_ARGUMENT"): 1, requests("picky", "OK"): 0})
    # As docs/metrics.md says of Triton's own.
    assert grown(server, before, 'nv_inference_request_success{model="picky",version="1"}') == 0


COUNTED = re.compile(r"(tftrt_requests_total|nv_inference_request_(success|failure)){")


def counted(server: Server, before: Figures) -> Figures:
    """By how much the counters of requests have grown that have grown at all."""
    after = figures(server)
    return {
        name: value - before.get(name, 0.0)
        for name, value in after.items()
        if COUNTED.match(name) and value != before.get(name)
    }


def test_of_malformed_texts_those_that_reach_the_model_are_counted(served: Callable[[str], Server]) -> None:
    """As docs/metrics.md says: those that say that they are longer than they are; Triton refuses all others."""
    server = served("table")

    def refused(shape: tuple[int, int], *raws: bytes) -> None:
        for raw in raws:
            request = Request((Tensor("words", "BYTES", shape, raw),), ("score",), "table")
            assert Http(server.http).infer(request)[0] == "400"
            assert Grpc(server.grpc).infer(request)[0] == "INVALID_ARGUMENT"

    before = figures(server)
    refused((1, 1), b"\xff\xff\x00\x00abc")
    told = 'nv_inference_request_failure{model="table",reason="BACKEND",version="1"}'
    eventually(server, before, {told: 2, requests("table", "INVALID_ARGUMENT"): 2})
    # The model is not called for what it cannot be given.
    assert grown(server, before, 'tftrt_batch_size_count{model="table"}') == 0
    one = b"\x01\x00\x00\x00a"
    before = figures(server)
    refused((1, 1), b"\x01", b"", one + one)
    refused((2, 1), one)
    assert counted(server, before) == {}


def test_what_triton_refuses_itself_is_counted_nowhere(served: Callable[[str], Server]) -> None:
    """As docs/metrics.md says."""
    server = served("picky")
    before = figures(server)
    for module, client in clients(server):
        for name, shape in (("x", [5, 1]), ("x", [1, 2]), ("nothing", [1, 1])):
            tensor = module.InferInput(name, shape, "FP32")
            tensor.set_data_from_numpy(np.zeros(shape, np.float32))
            with pytest.raises(InferenceServerException):
                client.infer("picky", [tensor])
    assert counted(server, before) == {}
