"""A client of the Open Inference Protocol, as users have one."""

import httpx
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def infer(address: str, model: str, **inputs: Array) -> Array:
    """Ask for a prediction over HTTP; returns the only output.

    Raises:
        httpx.HTTPError: nobody answered, or with a fault.
    """
    tensors = [
        {"name": name, "datatype": "FP32", "shape": list(value.shape), "data": value.ravel().tolist()}
        for name, value in inputs.items()
    ]
    response = httpx.post(f"http://{address}:8000/v2/models/{model}/infer", json={"inputs": tensors}, timeout=60)
    response.raise_for_status()
    (output,) = response.json()["outputs"]
    return np.array(output["data"], dtype=np.float32).reshape(output["shape"])


def infer_grpc(address: str, model: str, **inputs: Array) -> Array:
    """Ask for a prediction over gRPC; returns the only output."""
    import tritonclient.grpc as triton

    tensors = []
    for name, value in inputs.items():
        tensor = triton.InferInput(name, list(value.shape), "FP32")
        tensor.set_data_from_numpy(value)
        tensors.append(tensor)
    with triton.InferenceServerClient(f"{address}:8001") as client:
        result = client.infer(model, tensors)
        answer: Array = result.as_numpy(result.get_response().outputs[0].name)
    return answer


def relative_error(answer: Array, expected: Array) -> float:
    """Return the largest difference relative to the largest expected value."""
    return float(np.max(np.abs(answer - expected)) / np.max(np.abs(expected)))
