"""What a request declares is no more than what it brings: `serve/declared_shapes.c`, in a real tritonserver."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from tests.box import Box, Server, until
from tests.test_serve import clients, unregistered

# More than a server takes without looking at how long the request is.
MANY = 2_000_000
NO_ITEM = "The request was refused: it has no item: the first dimension of 'x' is 0."
GOOD = 60


@pytest.fixture
def region() -> Iterator[Path]:
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("this machine has no shared memory")
    path = Path(f"/dev/shm/tftrt-test-declared-{os.getpid()}")
    yield path
    path.unlink(missing_ok=True)


def refused(client: Any, model: str, inputs: list[Any]) -> InferenceServerException:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, inputs)
    return caught.value


def tensor(module: Any, name: str, value: NDArray[Any], datatype: str) -> Any:
    made = module.InferInput(name, list(value.shape), datatype)
    made.set_data_from_numpy(value)
    return made


def of_two(module: Any, ids: Any) -> list[Any]:
    """All inputs of the model `two`."""
    extra = tensor(module, "extra", np.zeros((1, 3), np.float16), "FP16")
    return [ids, extra, tensor(module, "unused", np.zeros((1, 1), np.bool_), "BOOL")]


def json_of_two(shape: list[int]) -> dict[str, Any]:
    inputs = [
        {"name": "ids", "datatype": "INT32", "shape": shape, "data": [1, 2, 3]},
        {"name": "extra", "datatype": "FP32", "shape": [1, 3], "data": [0, 0, 0]},
    ]
    return {"inputs": inputs}


def test_a_request_without_an_item_is_refused_by_both_protocols(served: Callable[[str], Server]) -> None:
    for (module, client), status in zip(clients(served("picky")), ("400", "StatusCode.INVALID_ARGUMENT")):
        error = refused(client, "picky", [tensor(module, "x", np.zeros((0, 1), np.float32), "FP32")])
        assert (error.status(), error.message()) == (status, NO_ITEM)


def test_requests_without_an_item_are_no_matter_to_those_that_are_put_together(served: Callable[[str], Server]) -> None:
    server = served("picky")
    found: list[float] = []
    refusals: list[str] = []

    def ask(rows: int) -> None:
        module, client = clients(server)[1]
        for _ in range(GOOD):
            asked = [tensor(module, "x", np.full((rows, 1), 2, np.float32), "FP32")]
            if rows:
                found.append(float(client.infer("picky", asked).as_numpy("y")[0, 0]))
            else:
                refusals.append(refused(client, "picky", asked).message())

    threads = [threading.Thread(target=ask, args=(rows,)) for rows in (1, 0, 1, 0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [4.0] * 3 * GOOD
    assert refusals == [NO_ITEM] * 2 * GOOD


def test_no_room_is_made_for_elements_that_were_not_sent(converted: Callable[..., Box]) -> None:
    server = Server(converted("two"), folder="declared")
    server.wait_until_ready()
    # Beside it no client has sent a long request, or one that names a region of shared memory.
    response = httpx.post(f"http://127.0.0.1:{server.http}/v2/models/two/infer", json=json_of_two([1, MANY]))
    server.stop()
    assert response.status_code == 400
    sentence = "The request was refused: the shape of 'ids' has more elements than the request can hold."
    assert response.json()["error"] == sentence


@pytest.mark.parametrize("index", [0, 1])
def test_a_batch_that_none_can_be_is_refused(served: Callable[[str], Server], index: int) -> None:
    module, client = clients(served("picky"))[index]
    asked = module.InferInput("x", [1, 1], "FP32")
    asked.set_data_from_numpy(np.zeros((1, 1), np.float32))
    asked.set_shape([2**31, 1])
    assert "'x' is 2147483648, which no batch is" in refused(client, "picky", [asked]).message()


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_a_long_request_is_answered_however_small_it_was_made(
    served: Callable[[str], Server], compression: str | None
) -> None:
    module, client = clients(served("two"))[0]
    asked = of_two(module, tensor(module, "ids", np.ones((1, MANY), np.int32), "INT32"))
    answer = client.infer("two", asked, request_compression_algorithm=compression)
    np.testing.assert_array_equal(answer.as_numpy("total"), np.full((1, 3), 2.0 * MANY))


@pytest.mark.parametrize("index", [0, 1])
def test_elements_in_shared_memory_need_not_be_sent(served: Callable[[str], Server], region: Path, index: int) -> None:
    module, client = clients(served("two"))[index]
    ids = np.ones((1, MANY), np.int32)
    region.write_bytes(ids.tobytes())
    client.register_system_shared_memory("ids", f"/{region.name}", ids.nbytes)
    asked = module.InferInput("ids", list(ids.shape), "INT32")
    asked.set_shared_memory("ids", ids.nbytes)
    answer = client.infer("two", of_two(module, asked))
    np.testing.assert_array_equal(answer.as_numpy("total"), np.full((1, 3), 2.0 * MANY))
    for _ in until("the region to be given back"):
        if unregistered(client, "ids"):
            break
