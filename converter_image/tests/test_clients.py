# mypy: disable-error-code="no-untyped-call"
"""The clients of docs/clients.md against a real server: each example as it stands on that page, and what it claims.

The KServe SDK, and httpx that comes with it, have a virtual environment of their own (`tools.sh`).
"""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests import interacting
from tests.bad_requests.http import Http
from tests.box import WAIT_SECONDS, Box, Server
from tests.test_serve import ask
from tftrt_runtime.contract.artifact import REPORT

PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()
KSERVE = Path(__file__).parents[1] / ".tools" / "kserve" / "bin" / "python"
ITEMS = np.array([[5.1, 3.5, 1.4, 0.2], [6.2, 2.9, 4.3, 1.3]], np.float32)

needs_kserve = pytest.mark.skipif(not KSERVE.exists(), reason="the KServe SDK is not there: tests/tools.sh installs it")


def examples(language: str) -> list[str]:
    """The blocks of the page in this language."""
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found


def scores(items: Any) -> Any:
    return np.asarray(interacting.iris(tf.constant(items))["scores"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], tuple[Box, Server]]:
    """A function from a model of `interacting` to its box and a server of it that is ready, each started once."""
    folder = tmp_path_factory.mktemp("clients")
    servers: dict[str, tuple[Box, Server]] = {}

    def serve(function: Any) -> tuple[Box, Server]:
        name = function.__name__
        if name not in servers:
            interacting.save(folder, function)
            box = Box(tmp_path_factory.mktemp(name), name=name, models=folder)
            box.convert_and_publish()
            servers[name] = box, box.serve()
            servers[name][1].wait_until_ready()
        return servers[name]

    return serve


@pytest.fixture
def iris(running: Callable[[Any], tuple[Box, Server]]) -> Server:
    return running(interacting.iris)[1]


def here(example: str, server: Server, name: str = "iris") -> str:
    """The example, with the addresses of this server."""
    addressed = example.replace(f"{name}.default.svc:8000", f"127.0.0.1:{server.http}")
    addressed = addressed.replace(f"{name}.default.svc:8001", f"127.0.0.1:{server.grpc}")
    assert addressed != example
    return addressed


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=WAIT_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", examples("python tritonclient"))
def test_the_examples_of_tritonclient(iris: Server, tmp_path: Path, example: str) -> None:
    """Over HTTP, over gRPC, and with retries."""
    answer = json.loads(run([sys.executable, "-c", here(example, iris)], tmp_path))
    np.testing.assert_allclose(answer, scores(ITEMS), rtol=1e-5)


@needs_kserve
@pytest.mark.parametrize("example", [*examples("python kserve"), *examples("python httpx")])
def test_the_examples_of_the_kserve_sdk_and_of_httpx(iris: Server, tmp_path: Path, example: str) -> None:
    answer = json.loads(run([str(KSERVE), "-c", here(example, iris)], tmp_path).splitlines()[-1])
    np.testing.assert_allclose(answer, scores(ITEMS), rtol=1e-5)


def test_the_examples_of_curl(iris: Server, tmp_path: Path) -> None:
    as_json, as_bytes = examples("sh")
    answer = json.loads(run(["sh", "-c", here(as_json, iris)], tmp_path))
    np.testing.assert_allclose(answer["outputs"][0]["data"], scores(ITEMS[:1])[0], rtol=1e-5)
    (tmp_path / "x.raw").write_bytes(ITEMS[:1].tobytes())
    run(["sh", "-c", here(as_bytes, iris)], tmp_path)
    found = np.frombuffer((tmp_path / "scores.raw").read_bytes(), np.float32)
    np.testing.assert_allclose(found, scores(ITEMS[:1])[0], rtol=1e-5)


@pytest.mark.parametrize("function", [interacting.iris, interacting.oddities], ids=["iris", "oddities"])
def test_the_request_of_the_report_is_answered(
    running: Callable[[Any], tuple[Box, Server]], tmp_path: Path, function: Any
) -> None:
    box, server = running(function)
    name = function.__name__
    found = re.search(r'<pre id="command">(.*?)</pre>', (box.published / REPORT).read_text(), re.DOTALL)
    assert found
    said = run(["sh", "-c", here(html.unescape(found[1]), server, name)], tmp_path)
    # With an output of half precision all of it is raw bytes, behind a header.
    text = said or (tmp_path / "answer.bin").read_bytes().partition(b"}]}")[0].decode() + "}]}"
    answer = json.loads(text)
    outputs = json.loads(server.get(f"/v2/models/{name}"))["outputs"]
    assert {output["name"] for output in answer["outputs"]} == {output["name"] for output in outputs}
    assert all(output["shape"][0] == 1 for output in answer["outputs"])


# What the page claims of clients and of how values travel.

HEALTH = """
import asyncio, json
from kserve import InferenceRESTClient, RESTConfig

async def main():
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        for call in (client.is_server_ready, client.is_server_live):
            try:
                print(await call("http://iris.default.svc:8000"))
            except Exception as error:
                print(type(error).__name__)

asyncio.run(main())
"""
MIXED = """
import asyncio
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

async def main():
    async with InferenceGRPCClient("oddities.default.svc:8001") as client:
        for binary in (True, False):
            x = InferInput("x", [1, 4], "FP32")
            x.set_data_from_numpy(np.ones((1, 4), np.float32), binary_data=True)
            words = InferInput("words", [1, 1], "BYTES")
            words.set_data_from_numpy(np.array([[b"a"]], dtype=object), binary_data=binary)
            try:
                print(len((await client.infer(InferRequest("oddities", [x, words]))).outputs))
            except Exception as error:
                print(error.code().name)

asyncio.run(main())
"""


@needs_kserve
def test_the_kserve_sdks_rest_client_wants_a_body_that_triton_does_not_send(iris: Server, tmp_path: Path) -> None:
    said = run([str(KSERVE), "-c", here(HEALTH, iris)], tmp_path).split()
    assert said == ["JSONDecodeError", "JSONDecodeError"], "it works now: say so in docs/clients.md"


@needs_kserve
def test_values_and_raw_bytes_in_one_request_are_refused_over_grpc(
    running: Callable[[Any], tuple[Box, Server]], tmp_path: Path
) -> None:
    server = running(interacting.oddities)[1]
    said = run([str(KSERVE), "-c", here(MIXED, server, "oddities")], tmp_path).split()
    assert said == ["4", "INVALID_ARGUMENT"]


def post(server: Server, outputs: list[dict[str, Any]], word: str = "a") -> tuple[int, bytes]:
    """What a request in JSON for these outputs is answered."""
    x = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
    words = {"name": "words", "datatype": "BYTES", "shape": [1, 1], "data": [word]}
    request = json.dumps({"inputs": [x, words], "outputs": outputs})
    url = f"http://127.0.0.1:{server.http}/v2/models/oddities/infer"
    command = ["curl", "-sS", "-w", "%{http_code}", "-d", request, url]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    return int(done.stdout[-3:]), done.stdout[:-3]


def test_how_values_travel(running: Callable[[Any], tuple[Box, Server]]) -> None:
    server = running(interacting.oddities)[1]
    code, body = post(server, [{"name": "vector"}])
    assert (code, json.loads(body)["outputs"][0]["shape"]) == (200, [1, 1])
    code, body = post(server, [{"name": "half"}])
    assert code == 400
    assert b"FP16" in body
    code, body = post(server, [{"name": "half", "parameters": {"binary_data": True}}])
    assert code == 200
    np.testing.assert_array_equal(np.frombuffer(body[-8:], np.float16), [1, 2, 3, 4])
    code, body = post(server, [{"name": "ratio"}])
    assert code == 200
    assert b"Infinity" in body
    assert json.loads(body)["outputs"][0]["data"] == [float("inf")] * 4, "Python reads it"


def test_a_text_that_is_no_utf_8_is_json_that_nobody_decodes(running: Callable[[Any], tuple[Box, Server]]) -> None:
    server = running(interacting.oddities)[1]
    client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")
    inputs = {"x": np.ones((1, 4), np.float32), "words": np.array([[b"\xff\xfe"]], dtype=np.object_)}
    found = ask(tritonclient.grpc, client, "oddities", inputs, ["word"])
    assert found["word"][0, 0] == b"\xff\xfe"
    http = tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.http}")
    tensors = []
    for name, value in inputs.items():
        tensors.append(tritonclient.http.InferInput(name, list(value.shape), "BYTES" if name == "words" else "FP32"))
        tensors[-1].set_data_from_numpy(value)
    wanted = [tritonclient.http.InferRequestedOutput("word", binary_data=False)]
    with pytest.raises((UnicodeDecodeError, ValueError, InferenceServerException)):
        http.infer("oddities", tensors, outputs=wanted)


def test_more_items_than_the_largest_batch_are_refused(iris: Server) -> None:
    client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{iris.grpc}")
    with pytest.raises(InferenceServerException, match="INVALID_ARGUMENT"):
        ask(tritonclient.grpc, client, "iris", {"x": np.zeros((5, 4), np.float32)}, ["scores"])


def in_json(**changes: object) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2], **changes}]}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (in_json(data=[5.1, 3.5, 1.4]), "500", "Unable to parse 'data'"),
        (in_json(data=[5.1] * 5), "500", "Unable to parse 'data'"),
        (in_json(data=["5.1", 3.5, 1.4, 0.2]), "500", "Unable to parse 'data'"),
        (in_json(data=[None, 3.5, 1.4, 0.2]), "500", "Unable to parse 'data'"),
        (in_json(shape=[1.0, 4]), "500", "Unable to parse 'shape'"),
        (in_json(shape="1, 4"), "500", "Unable to parse 'shape'"),
        ({**in_json(), "id": 7}, "500", "Unable to parse 'id'"),
        ({}, "500", "Unable to parse 'inputs'"),
        ([], "500", "Unable to parse 'inputs'"),
        (b'{"inputs": [1e400]}', "500", "failed to parse the request JSON buffer"),
        (b'{"inputs": [', "500", "failed to parse the request JSON buffer"),
        (in_json(shape=[1, 3], data=[5.1, 3.5, 1.4]), "400", "unexpected shape for input 'x'"),
        (in_json(), "200", "scores"),
    ],
)
def test_which_mistakes_in_json_triton_calls_the_servers_fault(
    iris: Server, body: object, status: str, words: str
) -> None:
    """As the page says, of what need not be repeated."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    found, told = Http(iris.http).post("/v2/models/iris/infer", sent)
    assert (found, words in told.decode()) == (status, True), told
