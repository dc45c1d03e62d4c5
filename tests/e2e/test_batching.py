"""A model whose items see each other is served one request a call, and the status and the report say so."""

import re
import threading
from pathlib import Path

import httpx
import numpy as np

from tests.support.trtmodels import trtmodel
from tests.support.waiting import eventually

from .conftest import Workspace
from .inference import Array, infer, infer_grpc
from .test_served_model import is_serving

CLIENTS, REQUESTS = 8, 25


def row(number: int, length: int = 1) -> Array:
    """What a client of this number asks, which is no other's."""
    return np.full((length, 4), number + 1, np.float32)


def test_no_client_gets_anothers_data_of_a_model_whose_items_see_each_other(workspace: Workspace) -> None:
    api = workspace.api
    api.create(trtmodel("similarity", source={"uri": "pvc://models/similarity"}, conversion={"maxBatchSize": 8}))
    eventually(lambda: is_serving(api, "similarity"), seconds=240)

    status = api.get("TRTModel", "similarity")["status"]
    batching = status["serving"]["batching"]
    assert (batching["mode"], batching["reason"]) == ("Disabled", "ItemsInteract")
    assert "output 'scores' differs" in batching["message"]
    (report,) = (workspace.volume / "tftrt").rglob("report.html")
    assert "output &#39;scores&#39; differs" in words(report) or "output 'scores' differs" in words(report)

    address = workspace.address("similarity")
    before = calls(address)
    answers: list[tuple[int, Array]] = []

    def client(number: int) -> None:
        for turn in range(REQUESTS):
            ask = infer_grpc if turn % 2 else infer
            answers.append((number, ask(address, "similarity", queries=row(number), candidates=row(number))))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == CLIENTS * REQUESTS
    for number, scores in answers:
        np.testing.assert_array_equal(scores, row(number) @ row(number).T)
    items, executions = (after - earlier for after, earlier in zip(calls(address), before, strict=True))
    assert items == executions == CLIENTS * REQUESTS, "two requests were one call"

    together = infer(address, "similarity", queries=row(1, 4), candidates=row(2, 4))
    np.testing.assert_array_equal(together, row(1, 4) @ row(2, 4).T)


def words(report: Path) -> str:
    return " ".join(report.read_text().split())


def calls(address: str) -> tuple[int, int]:
    """How many items Triton has handed to the model, and in how many calls."""
    text = httpx.get(f"http://{address}:8002/metrics").text
    names = ("nv_inference_count", "nv_inference_exec_count")
    items, executions = (re.findall(rf"^{name}{{.*}} (\d+)$", text, re.MULTILINE)[0] for name in names)
    return int(items), int(executions)
