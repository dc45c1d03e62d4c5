"""Asks a server as clients do: inline over gRPC, and through system shared memory."""

import contextlib
import threading
import time
import uuid
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tritonclient.grpc

WARM_UP_SECONDS = 2.0


def ask(address: str, model: str, images: Any) -> dict[str, Any]:
    """The server's answer by output name."""
    client = tritonclient.grpc.InferenceServerClient(address)
    names = [tensor.name for tensor in client.get_model_metadata(model).outputs]
    tensor = inline(client, model, images)
    answer = client.infer(model, [tensor])
    return {name: answer.as_numpy(name) for name in names}


def inline(client: Any, model: str, images: Any) -> Any:
    """The input with its bytes in the request."""
    (described,) = client.get_model_metadata(model).inputs
    tensor = tritonclient.grpc.InferInput(described.name, list(images.shape), described.datatype)
    tensor.set_data_from_numpy(images)
    return tensor


@contextlib.contextmanager
def shared(client: Any, model: str, images: Any) -> Any:
    """The input with its bytes in a region of /dev/shm that the server has mapped."""
    name = f"tftrt-benchmark-{uuid.uuid4().hex}"
    region = Path("/dev/shm", name)
    try:
        region.write_bytes(images.tobytes())
        client.register_system_shared_memory(name, f"/{name}", images.nbytes)
        (described,) = client.get_model_metadata(model).inputs
        tensor = tritonclient.grpc.InferInput(described.name, list(images.shape), described.datatype)
        tensor.set_shared_memory(name, images.nbytes)
        yield tensor
        # It is not given up again: Triton may count it as used for a moment longer, and the server ends with the run.
    finally:
        region.unlink(missing_ok=True)


def load(address: str, model: str, images: Any, clients: int, way: str, seconds: float) -> dict[str, Any]:
    """As many clients as are told, each of which asks again as soon as it is answered."""
    latencies: list[float] = []
    errors: list[str] = []
    begin = time.perf_counter() + WARM_UP_SECONDS

    def one() -> None:
        client = tritonclient.grpc.InferenceServerClient(address)
        through = shared(client, model, images) if way == "sharedMemory" else None
        try:
            with through or contextlib.nullcontext(inline(client, model, images)) as tensor:
                while (now := time.perf_counter()) < begin + seconds:
                    client.infer(model, [tensor])
                    if now >= begin:
                        latencies.append(time.perf_counter() - now)
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=one) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row: dict[str, Any] = {"way": way, "batchSize": len(images), "clients": clients, "requests": len(latencies)}
    row["imagesPerSecond"] = round(len(latencies) * len(images) / seconds, 1)
    if latencies:
        row["p50Milliseconds"] = round(median(latencies) * 1e3, 3)
        row["p99Milliseconds"] = round(float(np.percentile(latencies, 99)) * 1e3, 3)
    return {**row, "errors": errors[:3]}
