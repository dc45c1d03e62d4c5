from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.box import Box, Server, free_ports, until
from tests.rounding import TERMS, assert_rounded_alike
from tftrt_runtime.serve import connections

Arrays = dict[str, NDArray[Any]]


def clients(server: Server) -> list[tuple[Any, Any]]:
    """A client of each protocol, and its module."""
    return [
        (tritonclient.http, tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.http}")),
        (tritonclient.grpc, tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")),
    ]


def ask(module: Any, client: Any, name: str, inputs: Arrays, outputs: list[str]) -> Arrays:
    asked = []
    for key, value in inputs.items():
        tensor = module.InferInput(key, list(value.shape), np_to_triton_dtype(value.dtype))
        tensor.set_data_from_numpy(value)
        asked.append(tensor)
    answer = client.infer(name, asked)
    return {key: answer.as_numpy(key) for key in outputs}


def reference(models: Path, name: str) -> tuple[Arrays, Arrays]:
    """What the unconverted model was asked, and what it answered."""
    with np.load(models / f"{name}.npz", allow_pickle=True) as arrays:
        inputs = {key.partition(" ")[2]: arrays[key] for key in arrays if key.startswith("input ")}
        outputs = {key.partition(" ")[2]: arrays[key] for key in arrays if key.startswith("output ")}
    return inputs, outputs


def expect_equal(name: str, found: Arrays, expected: Arrays) -> None:
    for output, value in expected.items():
        if name in TERMS and value.dtype.kind == "f":
            assert_rounded_alike(found[output], value, TERMS[name])
        else:
            np.testing.assert_array_equal(found[output], value)
        assert found[output].dtype == value.dtype


@pytest.mark.parametrize("name", ["cnn", "resnet50", "two", "vocabulary", "keras", "every-type", "tensorflow1"])
def test_answers_over_http_and_grpc_equal_the_unconverted_models(
    served: Callable[[str], Server], models: Path, name: str
) -> None:
    inputs, outputs = reference(models, name)
    for module, client in clients(served(name)):
        expect_equal(name, ask(module, client, name, inputs, list(outputs)), outputs)


def test_words_go_through_a_lookup_table_and_vectors_travel_as_columns(
    served: Callable[[str], Server], models: Path
) -> None:
    inputs, outputs = reference(models, "table")
    for module, client in clients(served("table")):
        found = ask(module, client, "table", {"words": inputs["words"][:, None]}, list(outputs))
        expect_equal("table", {name: value[:, 0] for name, value in found.items()}, outputs)


def test_requests_of_several_shapes_at_once_each_get_their_own_answer(served: Callable[[str], Server]) -> None:
    module, client = clients(served("two"))[1]
    rows, columns = [1, 2, 1, 3, 1, 2, 1, 1], [3, 5, 3, 5, 7, 3, 5, 3]
    answers: dict[int, Arrays] = {}

    def one(index: int) -> None:
        ids = np.full((rows[index], columns[index]), index, np.int32)
        extra = np.zeros((rows[index], 3), np.float16)
        inputs: Arrays = {"ids": ids, "extra": extra, "unused": np.zeros((rows[index], 1), np.bool_)}
        answers[index] = ask(module, client, "two", inputs, ["total", "even"])

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(rows))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, answer in answers.items():
        # Whole numbers: nothing is rounded.
        np.testing.assert_array_equal(answer["total"], np.full((rows[index], 3), 2.0 * index * columns[index]))
        assert answer["even"].shape == (rows[index], columns[index])


def test_a_request_that_the_model_refuses_is_an_error_of_its_own(served: Callable[[str], Server]) -> None:
    module, client = clients(served("picky"))[1]
    with pytest.raises(InferenceServerException, match="x is too large"):
        ask(module, client, "picky", {"x": np.full((1, 1), 1000, np.float32)}, ["y"])
    answer = ask(module, client, "picky", {"x": np.full((1, 1), 2, np.float32)}, ["y"])
    assert answer["y"][0, 0] == 4


def test_bad_requests_among_good_ones_hold_nobody_up(served: Callable[[str], Server]) -> None:
    """More of them than batches are worked on at a time: none may keep its place."""
    module, client = clients(served("picky"))[1]
    values = [1000.0 if number % 3 == 0 else float(number) for number in range(24)]
    found: dict[int, Any] = {}

    def one(index: int) -> None:
        try:
            found[index] = ask(module, client, "picky", {"x": np.full((1, 1), values[index], np.float32)}, ["y"])["y"]
        except InferenceServerException as error:
            found[index] = error

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(values))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, value in enumerate(values):
        if value == 1000.0:
            assert "x is too large" in str(found[index])
        else:
            assert found[index][0, 0] == 2 * value


def test_a_quick_request_is_answered_while_a_slow_one_is_worked_on(served: Callable[[str], Server]) -> None:
    module, client = clients(served("slow"))[1]

    def wait(milliseconds: float, rows: int = 1) -> None:
        ask(module, client, "slow", {"milliseconds": np.full((rows, 1), milliseconds, np.float32)}, ["echo"])

    # The largest batch: nothing is put together with it.
    slow = threading.Thread(target=wait, args=(1000.0, 4))
    slow.start()
    overtook = 0
    for _ in until("the slow request's answer"):
        wait(0.0)
        if not slow.is_alive():
            break
        overtook += 1
    slow.join()
    assert overtook > 0


def test_a_batch_above_the_largest_is_refused(served: Callable[[str], Server]) -> None:
    module, client = clients(served("cnn"))[0]
    with pytest.raises(InferenceServerException, match="batch-size must be <= 4"):
        ask(module, client, "cnn", {"image": np.zeros((5, 16, 16, 3), np.float32)}, ["output_0"])


def unregistered(client: Any, region: str) -> bool:
    """Whether a region of shared memory could be given up.

    Triton counts it as used for a moment after the response is sent, whatever the backend:
    https://github.com/triton-inference-server/server/issues/7688
    """
    try:
        client.unregister_system_shared_memory(region)
    except InferenceServerException as error:
        assert "currently in use" in str(error)
        return False
    return True


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="this machine has no shared memory")
def test_inputs_travel_through_shared_memory(served: Callable[[str], Server], models: Path) -> None:
    inputs, outputs = reference(models, "cnn")
    ((key, image),) = inputs.items()
    module, client = clients(served("cnn"))[1]
    region = Path(f"/dev/shm/tftrt-test-{os.getpid()}")
    try:
        region.write_bytes(image.tobytes())
        client.register_system_shared_memory("image", f"/{region.name}", image.nbytes)
        tensor = module.InferInput(key, list(image.shape), "FP32")
        tensor.set_shared_memory("image", image.nbytes)
        answer = client.infer("cnn", [tensor])
        expect_equal("cnn", {out: answer.as_numpy(out) for out in outputs}, outputs)
        for _ in until("the region to be given back"):
            if unregistered(client, "image"):
                break
    finally:
        region.unlink()


def test_ready_means_warm(served: Callable[[str], Server]) -> None:
    lines = served("cnn").log.read_text()
    for size in (1, 4):
        assert f'"message": "Warmed up", "batch_size": {size}' in lines


def test_metrics_count_requests(served: Callable[[str], Server]) -> None:
    server = served("cnn")
    module, client = clients(server)[0]
    ask(module, client, "cnn", {"image": np.zeros((1, 16, 16, 3), np.float32)}, ["output_0"])
    assert 'nv_inference_request_success{model="cnn",version="1"}' in server.get("/metrics", server.metrics)


def test_models_traces_and_logs_are_not_for_clients(served: Callable[[str], Server]) -> None:
    for module, client in clients(served("cnn")):
        for call in (
            client.get_model_repository_index,
            lambda client=client: client.unload_model("cnn"),
            client.get_trace_settings,
            lambda client=client: client.update_log_settings({"log_verbose_level": 1}),
        ):
            with pytest.raises(InferenceServerException, match="restricted"):
                call()
        assert client.is_model_ready("cnn"), module


def test_sigterm_answers_what_is_in_flight_and_exits_0(converted: Callable[..., Box]) -> None:
    server = Server(converted("slow"), folder="drained")
    server.wait_until_ready()
    module, client = clients(server)[1]
    answers: list[Arrays] = []
    slow = {"milliseconds": np.array([[1000.0]], np.float32)}
    threads: list[threading.Thread] = []
    for _ in until("a request that waits while another one runs"):
        threads.append(threading.Thread(target=lambda: answers.append(ask(module, client, "slow", slow, ["echo"]))))
        threads[-1].start()
        waiting = re.search(r"nv_inference_pending_request_count{.*} (\d+)", server.get("/metrics", server.metrics))
        assert waiting
        if int(waiting[1]):
            break
    ended = server.stop()
    for thread in threads:
        thread.join()
    assert ended.code == 0, ended.log
    assert [answer["echo"][0, 0] for answer in answers] == [1000.0] * len(threads)


def test_sigterm_before_the_model_is_ready_ends_the_server(converted: Callable[..., Box]) -> None:
    server = Server(converted("cnn"), folder="early")
    server.line("Started tritonserver")
    ended = server.stop()
    assert (ended.code, ended.termination) == (0, {}), ended.log


def copy_of(box: Box, folder: Path) -> Box:
    """A box whose artifact is a copy of another's."""
    made = Box(folder, name=box.name)
    shutil.copytree(box.product, made.product)
    return made


def test_an_artifact_with_a_changed_byte_is_not_served(converted: Callable[..., Box], tmp_path: Path) -> None:
    box = copy_of(converted("cnn"), tmp_path)
    file = box.published / "model/saved_model.pb"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    ended = box.serve().ended()
    assert (ended.code, ended.termination["reason"]) == (22, "ArtifactCorrupt")
    assert str(file) in ended.message


def test_an_artifact_with_a_file_missing_is_not_served(converted: Callable[..., Box], tmp_path: Path) -> None:
    box = copy_of(converted("cnn"), tmp_path)
    (box.published / "model/saved_model.pb").unlink()
    assert box.serve().ended().code == 22


def test_an_artifact_with_a_file_too_many_is_not_served(converted: Callable[..., Box], tmp_path: Path) -> None:
    box = copy_of(converted("cnn"), tmp_path)
    (box.published / "model/variables/planted").write_bytes(b"planted")
    ended = box.serve().ended()
    assert (ended.code, ended.termination["reason"]) == (22, "ArtifactCorrupt")
    assert "variables/planted" in ended.message


def test_no_artifact_is_told_as_such(box: Box) -> None:
    ended = box.serve().ended()
    assert (ended.code, ended.termination["reason"]) == (23, "ArtifactNotFound")
    assert str(box.product) in ended.message


def test_another_models_artifact_is_not_served(converted: Callable[..., Box], tmp_path: Path) -> None:
    box = copy_of(converted("cnn"), tmp_path)
    box.spec["fingerprint"] = "f" * 32
    ended = box.serve().ended()
    assert (ended.code, ended.termination["reason"]) == (23, "ArtifactNotFound")


def test_a_gpu_runtime_does_not_serve_what_was_built_without_one(converted: Callable[..., Box], tmp_path: Path) -> None:
    box = copy_of(converted("cnn"), tmp_path)
    box.spec["runtime"] = {**box.spec["runtime"], "accelerator": "GPU"}
    ended = Server(box, memory_fraction="0.5").ended()
    assert (ended.code, ended.termination["reason"]) == (24, "EngineDeviceMismatch")


def test_a_model_that_cannot_be_loaded_ends_in_its_own_reason(converted: Callable[..., Box], tmp_path: Path) -> None:
    """A GPU that is not there shows only in the backend's process."""
    box = copy_of(converted("cnn"), tmp_path)
    manifest = box.product / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"product": "cpu"', '"product": "NVIDIA-A10"'))
    box.spec["runtime"] = {**box.spec["runtime"], "accelerator": "GPU"}
    ended = Server(box, memory_fraction="0.5").ended()
    assert (ended.code, ended.termination["reason"]) == (20, "GPUUnfit")


def test_a_tritonserver_that_cannot_listen_ends_in_a_sentence(converted: Callable[..., Box]) -> None:
    first = Server(converted("cnn"), folder="first")
    first.wait_until_ready()
    http, metrics = free_ports(2)
    second = Server(converted("cnn"), folder="second", ports=(http, first.grpc, metrics))
    ended = second.ended()
    first.stop()
    assert (ended.code, ended.termination["reason"]) == (35, "ServerFailed")
    assert "its last error line: " in ended.message
    assert "CudaDriverHelper" not in ended.message


def test_a_second_server_of_a_port_ends_in_a_sentence_and_the_first_can_still_be_drained(
    converted: Callable[..., Box],
) -> None:
    first = Server(converted("cnn"), folder="of-one-port")
    first.wait_until_ready()
    ended = Server(converted("cnn"), folder="of-the-same", ports=(first.http, *free_ports(2))).ended()
    assert (ended.code, ended.termination["reason"]) == (35, "ServerFailed")
    assert f"Another server of this machine has the HTTP port {first.http}" in ended.message
    assert connections.Connections(connections.path(first.http)).counts.listening
    first.stop()


def test_a_tritonserver_that_dies_is_told(converted: Callable[..., Box]) -> None:
    server = Server(converted("cnn"), folder="killed")
    server.wait_until_ready()
    os.kill(int(server.line("Started tritonserver")["pid"]), 9)
    ended = server.ended()
    assert (ended.code, ended.termination["reason"]) == (35, "ServerFailed")
    assert "SIGKILL" in ended.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a /dev/shm")
def test_a_dead_server_leaves_nothing_in_shared_memory(converted: Callable[..., Box], tmp_path: Path) -> None:
    # In a /dev/shm of its own: in the machine's the servers of other tests come and go.
    left = tmp_path / "left"
    then_listed = ["sh", "-c", f'"$@"; code=$?; ls /dev/shm > {left}; exit $code', "sh"]
    server = Server(
        converted("cnn"), folder="killed", shared_memory="64m", within=lambda command: [*then_listed, *command]
    )
    server.wait_until_ready()
    tritonserver = int(server.line("Started tritonserver")["pid"])
    assert any(Path(f"/proc/{tritonserver}/root/dev/shm").iterdir())
    os.kill(tritonserver, 9)
    assert server.ended().code == 35
    assert left.read_text() == ""
