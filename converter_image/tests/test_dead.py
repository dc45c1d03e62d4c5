"""A server that cannot answer ends at once, and says why."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tritonclient.grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.box import Box, Server, until
from tests.memory_group import can_be_made, memory_group
from tftrt_runtime.serve import faults

# From the end of the backend's process to that of tritonserver, on a machine that has much to do.
AT_ONCE_SECONDS = 5


def backend_of(server: Server) -> int:
    """The process that holds the model."""
    return int(server.line("Started TensorFlow")["pid"])


def ask(server: Server, model: str, name: str, value: float) -> float:
    """What the model answers to one item of one number."""
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}") as client:
        tensor = tritonclient.grpc.InferInput(name, [1, 1], "FP32")
        tensor.set_data_from_numpy(np.array([[value]], np.float32))
        answer = client.infer(model, [tensor])
        return float(answer.as_numpy(answer.get_response().outputs[0].name)[0, 0])


@contextmanager
def repeated(act: Callable[[], None], threads: int) -> Iterator[None]:
    """Have threads do something again and again."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            act()

    started = [threading.Thread(target=work) for _ in range(threads)]
    for thread in started:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in started:
            thread.join()


def ready_again_and_again(server: Server, said: list[float]) -> None:
    """Note when a question was asked that was answered by "ready"."""
    asked = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=5)
    try:
        connection.request("GET", "/v2/health/ready")
        if connection.getresponse().status == 200:
            said.append(asked)
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()


def test_a_server_ends_when_the_process_that_holds_the_model_ends(converted: Callable[..., Box]) -> None:
    server = Server(converted("slow"), folder="backend-killed")
    server.wait_until_ready()
    backend = backend_of(server)
    right: list[float] = []
    wrong: list[float] = []
    failed: list[str] = []
    ready: list[float] = []

    def one() -> None:
        try:
            answer = ask(server, "slow", "milliseconds", 2.0)
        except InferenceServerException as error:
            failed.append(str(error))
        else:
            (right if answer == 2.0 else wrong).append(answer)

    with repeated(one, threads=4), repeated(lambda: ready_again_and_again(server, ready), threads=1):
        for _ in until("answers, and readiness"):
            if len(right) >= 20 and ready:
                break
        assert not failed
        os.kill(backend, signal.SIGKILL)
        killed = time.monotonic()
        ended = server.ended()
        took = time.monotonic() - killed
    assert (ended.code, ended.termination["reason"]) == (35, "ServerFailed")
    assert "The process that runs the model was ended by SIGKILL" in ended.message
    assert took < AT_ONCE_SECONDS
    assert wrong == []
    assert failed, "clients learn it from their connections"
    assert [moment - killed for moment in ready if moment - killed > AT_ONCE_SECONDS / 2] == []


@pytest.mark.skipif(not can_be_made(), reason="only root may make a cgroup, where it is not read-only")
def test_a_server_that_the_kernel_kills_at_its_limit_of_memory_says_so(
    converted: Callable[..., Box],
) -> None:
    with memory_group() as group:
        server = Server(converted("slow"), folder="out-of-memory", within=group.command)
        server.wait_until_ready()
        assert ask(server, "slow", "milliseconds", 2.0) == 2.0
        # Requests come into tritonserver's memory, and the kernel ends the largest process, which is the model's.
        group.limit(group.used + 2**24)
        with repeated(lambda: post_zeros(server, 2**26), threads=2):
            ended = server.ended()
    assert (ended.code, ended.termination["reason"]) == (32, "OutOfMemory"), ended.log
    assert "raise spec.serving.resources" in ended.message


def post_zeros(server: Server, size: int) -> None:
    """Send so many bytes over HTTP, if they are taken."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=5)
    with suppress(OSError, http.client.HTTPException):
        connection.request("POST", "/v2/models/slow/infer", bytes(size))
        connection.getresponse().read()
    connection.close()


def test_a_model_that_fails_for_good_ends_its_server(converted: Callable[..., Box], models: Path) -> None:
    """The file system fails here, as a GPU would: for the request, and for what was answered before."""
    server = Server(converted("reader"), folder="lost")
    server.wait_until_ready()
    assert ask(server, "reader", "x", 0.5) == 0.75
    # One that fails by itself alone is its client's.
    with pytest.raises(InferenceServerException, match=r"INTERNAL.*UnknownError"):
        ask(server, "reader", "x", 1.5)
    assert ask(server, "reader", "x", 0.5) == 0.75
    file = models / "reader.files/0"
    file.rename(file.with_name("kept"))
    try:
        file.symlink_to(file)
        with pytest.raises(InferenceServerException):
            ask(server, "reader", "x", 0.5)
        ended = server.ended()
    finally:
        file.unlink()
        file.with_name("kept").rename(file)
    assert (ended.code, ended.termination["reason"]) == (35, "ServerFailed")
    assert "no longer answers what it answered when it was loaded: UnknownError" in ended.message


def test_sigterm_while_the_model_loads_leaves_no_process(converted: Callable[..., Box]) -> None:
    server = Server(converted("cnn"), folder="loading")
    backend = backend_of(server)
    asked = time.monotonic()
    ended = server.stop()
    assert (ended.code, ended.termination) == (0, {}), ended.log
    assert time.monotonic() - asked < AT_ONCE_SECONDS
    for _ in until("the end of the backend's process"):
        if not Path(f"/proc/{backend}").exists():
            break


def zeros(server: Server, columns: int) -> Any:
    """Ask for a byte for each of so many columns of four bytes."""
    arrays: dict[str, Any] = {
        "ids": np.zeros((1, columns), np.int32),
        "extra": np.zeros((1, 3), np.float16),
        "unused": np.zeros((1, 1), np.bool_),
    }
    tensors = []
    for name, array in arrays.items():
        tensors.append(tritonclient.grpc.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)))
        tensors[-1].set_data_from_numpy(array)
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}") as client:
        return client.infer("two", tensors).as_numpy("even")


def said_of_zeros(server: Server, columns: int) -> str:
    """What the server says of a request that it has no room for, up to its reason."""
    try:
        assert zeros(server, columns).all()
    except InferenceServerException as error:
        assert "no room" in str(error)
        return str(error.message()).partition(":")[0]
    return ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a /dev/shm")
def test_a_request_or_an_answer_that_shared_memory_does_not_hold_is_an_error_of_its_own(
    converted: Callable[..., Box],
) -> None:
    server = Server(converted("two"), folder="small", shared_memory="5m")
    server.wait_until_ready()
    with pytest.raises(InferenceServerException, match=r"INTERNAL.*shared memory"):
        zeros(server, 2_000_000)
    assert zeros(server, 100_000).all()
    # The memory grows with each request, until one that goes in leaves its answer, a quarter as large, no room.
    told = {said_of_zeros(server, size) for size in [*range(100_000, 1_310_720, 10_000)] * 3}
    assert told == {"", "The request could not be read", "The request could not be answered"}
    # What went in before goes in again, wherever the memory went meanwhile.
    assert said_of_zeros(server, 900_000) == ""
    assert [said_of_zeros(server, 100_000) for _ in range(12)] == [""] * 12
    assert server.stop().code == 0


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="this machine has no shared memory")
def test_an_answer_that_its_clients_memory_does_not_hold_is_the_clients_fault(served: Callable[[str], Server]) -> None:
    server = served("picky")
    region = Path(f"/dev/shm/tftrt-test-small-{os.getpid()}")
    tensor = tritonclient.grpc.InferInput("x", [4, 1], "FP32")
    tensor.set_data_from_numpy(np.ones((4, 1), np.float32))
    output = tritonclient.grpc.InferRequestedOutput("y")
    output.set_shared_memory("small", 4)
    try:
        region.write_bytes(bytes(4))
        with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}") as client:
            client.register_system_shared_memory("small", f"/{region.name}", 4)
            with pytest.raises(InferenceServerException, match="16 bytes"):
                client.infer("picky", [tensor], outputs=[output])
    finally:
        region.unlink()
    assert ask(server, "picky", "x", 2.0) == 4.0


MACHINE = [tf.errors.InternalError, tf.errors.UnknownError, tf.errors.UnavailableError, tf.errors.AbortedError]


@pytest.mark.parametrize(
    ("error", "code", "of_the_machine"),
    [
        (tf.errors.InvalidArgumentError(None, None, "indices[0] = 9 is not in [0, 4)"), "INVALID_ARGUMENT", False),
        (tf.errors.OutOfRangeError(None, None, "end"), "INVALID_ARGUMENT", False),
        (ValueError("not of this shape"), "INVALID_ARGUMENT", False),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "INVALID_ARGUMENT", False),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), "UNAVAILABLE", False),
        (MemoryError("Unable to allocate"), "UNAVAILABLE", False),
        *((kind(None, None, "CUDA_ERROR_ILLEGAL_ADDRESS"), "INTERNAL", True) for kind in MACHINE),
        (KeyError("y"), "INTERNAL", False),
    ],
)
def test_what_an_error_of_a_call_tells(error: Exception, code: str, of_the_machine: bool) -> None:
    assert (faults.code(error), faults.of_the_machine(error)) == (code, of_the_machine)


def test_a_device_that_is_lost_has_a_reason_of_its_own() -> None:
    error = tf.errors.InternalError(None, None, "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access")
    lost = faults.lost(error, on_gpu=True)
    assert (lost.code, lost.reason) == (37, "GPULost")
    assert "CUDA_ERROR_ILLEGAL_ADDRESS" in lost.message
    assert faults.lost(error, on_gpu=False).reason == "ServerFailed"
