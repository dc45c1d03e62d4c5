# mypy: disable-error-code="no-untyped-call"
"""Clients of one server, whose data no other one ever sees: with tritonserver as it is shipped."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc

from tests import interacting
from tests.box import Box, Server, until
from tests.test_serve import Arrays, ask

CLIENTS, REQUESTS = 8, 25


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], Box]:
    """A function from a model of `interacting` to the box in which it was converted and published, each once."""
    folder = tmp_path_factory.mktemp("interacting")
    boxes: dict[str, Box] = {}

    def convert(function: Any) -> Box:
        name = function.__name__
        if name not in boxes:
            interacting.save(folder, function)
            boxes[name] = Box(tmp_path_factory.mktemp(name), name=name, models=folder)
            ended = boxes[name].convert_and_publish()
            assert ended.termination["batching"]["mode"] == "Disabled"
        return boxes[name]

    return convert


def from_before(box: Box, folder: Path) -> Box:
    """The artifact as a converter published it that did not look whether items depend on each other."""
    made = Box(folder, name=box.name)
    shutil.copytree(box.product, made.product)
    manifest = json.loads((made.product / "manifest.json").read_text())
    del manifest["summary"]["batching"]
    (made.product / "manifest.json").write_text(json.dumps(manifest))
    return made


def answers(server: Server, name: str, asked: Callable[[int], Arrays], output: str) -> list[tuple[int, Any]]:
    """What clients that ask at the same time were answered, each with the number of its client."""
    found: list[tuple[int, Any]] = []

    def one(number: int) -> None:
        client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")
        found.extend(
            (number, ask(tritonclient.grpc, client, name, asked(number), [output])[output]) for _ in range(REQUESTS)
        )

    threads = [threading.Thread(target=one, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == CLIENTS * REQUESTS
    return found


def calls(server: Server) -> tuple[int, int]:
    """How many requests Triton has counted, and how many calls of the model."""
    text = server.get("/metrics", server.metrics)
    names = ("nv_inference_count", "nv_inference_exec_count")
    items, executions = (re.findall(rf"^{name}{{.*}} (\d+)$", text, re.MULTILINE)[0] for name in names)
    return int(items), int(executions)


def row(number: int) -> Any:
    return np.full((1, 4), 100.0**number % 97, np.float32)


def test_a_client_is_never_answered_with_anothers_similarity(apart: Callable[[Any], Box]) -> None:
    server = apart(interacting.similarity).serve()
    server.wait_until_ready()
    found = answers(server, "similarity", lambda number: {"queries": row(number), "candidates": row(number)}, "scores")
    for number, scores in found:
        assert scores.shape == (1, 1)
        np.testing.assert_allclose(scores, row(number) @ row(number).T, rtol=1e-6)
    items, executions = calls(server)
    assert items == executions, "without a dynamic batcher Triton never puts requests together"
    server.stop()


def test_a_request_of_several_items_is_one_call(apart: Callable[[Any], Box]) -> None:
    """As large as `max_batch_size`: what belongs together is sent together."""
    server = Server(apart(interacting.similarity), folder="several")
    server.wait_until_ready()
    client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")
    queries = np.eye(4, dtype=np.float32)
    found = ask(tritonclient.grpc, client, "similarity", {"queries": queries, "candidates": 2 * queries}, ["scores"])
    np.testing.assert_array_equal(found["scores"], 2 * queries)
    server.stop()


def test_an_artifact_from_before_is_served_as_before_and_apart_where_the_operator_says_so(
    apart: Callable[[Any], Box], tmp_path: Path
) -> None:
    """The first half shows that the other half would see it."""
    box = from_before(apart(interacting.centered), tmp_path)
    server = box.serve()
    server.wait_until_ready()
    for _ in until("two clients' requests in one call"):
        if any(value.any() for _, value in answers(server, "centered", lambda number: {"x": row(number)}, "y")):
            break
    server.stop()
    server = Server(box, folder="apart", batching="Disabled")
    server.wait_until_ready()
    for _, value in answers(server, "centered", lambda number: {"x": row(number)}, "y"):
        np.testing.assert_array_equal(value, np.zeros((1, 4), np.float32))
    server.stop()
