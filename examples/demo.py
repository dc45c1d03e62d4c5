"""`make demo`: a TRTModel becomes a served model on the embedded cluster, and its answer is compared.

Everything is what a user would do with kubectl, Helm and the Open Inference Protocol. Run again, it does nothing twice.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from tests.cluster import Cluster, Missing, converter_image, operator_image
from tests.cluster.deploy import install_operator

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
CONVERTER_PYTHON = ROOT / "converter_image" / ".venv" / "bin" / "python"
MODEL = "resnet50"
# Relative to the largest value. ResNet-50 has some 55,000 terms on its way: twice their root, times 2 ** -24, is 3e-5.
TOLERANCE = 1e-4
LONGEST_SECONDS = 600

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo; returns the exit code."""
    started = time.monotonic()
    cluster = Cluster(0)
    try:
        with stage("Kubernetes: etcd, API server, controllers, kubelet, CoreDNS"):
            cluster.up()
        with stage("Images: the operator's and the converter's"):
            operator, converter = operator_image(), converter_image()
            cluster.load_image(operator)
            cluster.load_image(converter)
        with stage("The operator, by Helm"):
            install_operator(cluster, operator, converter)
        with stage("ResNet-50 as a SavedModel, in the claim `models`"):
            answer = write_model(cluster)
        console.print(f"$ kubectl apply -f examples/{MODEL}-cpu.yaml")
        cluster.kubectl("apply", "-f", str(EXAMPLES / f"{MODEL}-cpu.yaml"))
        status = follow(cluster)
        compare(cluster, answer)
    except (Missing, RuntimeError, TimeoutError) as fault:
        console.print(f"[red]demo: {fault}[/red]")
        return 1
    except subprocess.CalledProcessError as fault:
        console.print(f"[red]demo: {fault}\n{fault.stderr or ''}[/red]")
        return 1

    console.print("\n$ kubectl get trtmodels -o wide")
    console.print(cluster.kubectl("get", "trtmodels", "-o", "wide"))
    console.print(f"In the cluster:    {status['serving']['url']}")
    console.print(f"On this machine:   {url(cluster)}")
    console.print(f"\nLook around:       export KUBECONFIG={cluster.kubeconfig}")
    console.print("Clean up:          make clean")
    console.print(f"\nThe demo took {time.monotonic() - started:.0f} s.")
    return 0


class stage:  # noqa: N801 - reads as a keyword
    """Say what begins, and how long it took."""

    def __init__(self, words: str) -> None:
        self._words = words

    def __enter__(self) -> None:
        self._started = time.monotonic()
        console.print(f"[bold]{self._words}[/bold]")

    def __exit__(self, *fault: object) -> None:
        if fault[0] is None:
            console.print(f"  done in {time.monotonic() - self._started:.1f} s")


def write_model(cluster: Cluster) -> Path:
    """Write the model into its volume; returns the file with the unconverted model's answer."""
    cluster.kubectl("apply", "-f", str(EXAMPLES / "models-pvc.yaml"))
    cluster.kubectl("wait", "pvc/models", "--for=jsonpath={.status.phase}=Bound", "--timeout=60s")
    volume = cluster.kubectl("get", "pvc", "models", "-o", "jsonpath={.spec.volumeName}")
    # A local volume is a folder of the node, and the node is this machine.
    folder = Path(cluster.kubectl("get", "pv", volume, "-o", "jsonpath={.spec.local.path}"))
    subprocess.run(
        [CONVERTER_PYTHON, EXAMPLES / f"{MODEL}.py", folder / MODEL], check=True, capture_output=True, text=True
    )
    return folder / f"{MODEL}.npz"


def follow(cluster: Cluster) -> dict[str, Any]:
    """Print each stage as it passes, until the model is ready.

    Raises:
        RuntimeError: the model is stalled.
        TimeoutError: it takes too long.
    """
    started = time.monotonic()
    seen = ""
    while time.monotonic() - started < LONGEST_SECONDS:
        model = json.loads(cluster.kubectl("get", "trtmodel", MODEL, "-o", "json"))
        status = model["status"]
        conditions = {item["type"]: item for item in status["conditions"]}
        ready = conditions["Ready"]
        line = f"{ready['reason']:20} {ready['message']}"
        if line != seen:
            console.print(f"  [dim]{time.monotonic() - started:5.1f} s[/dim]  {line}")
            seen = line
        if "Stalled" in conditions:
            raise RuntimeError(f"{MODEL} is stalled: {ready['reason']}: {ready['message']}")
        if ready["status"] == "True" and status["observedGeneration"] == model["metadata"]["generation"]:
            return dict(status)
        time.sleep(0.3)  # between two looks of a person
    raise TimeoutError(f"{MODEL} is not ready after {LONGEST_SECONDS} s; the last word was {seen}")


def url(cluster: Cluster) -> str:
    """Return the Service's address as this machine reaches it."""
    address = cluster.kubectl("get", "service", MODEL, "-o", "jsonpath={.spec.clusterIP}")
    return f"http://{address}:8000/v2/models/{MODEL}"


def compare(cluster: Cluster, answer: Path) -> None:
    """Ask for a prediction by the Open Inference Protocol, and compare it with the unconverted model's.

    Raises:
        RuntimeError: they differ by more than the tolerance.
    """
    known = np.load(answer)
    images, expected = known["input_1"], known["predictions"]
    body = {
        "inputs": [
            {"name": "input_1", "datatype": "FP32", "shape": list(images.shape), "data": images.ravel().tolist()}
        ]
    }
    # kube-proxy may need a moment to learn of a new Service.
    asking = Retrying(
        stop=stop_after_delay(30), wait=wait_fixed(0.5), retry=retry_if_result(lambda answered: answered is None)
    )
    started = time.monotonic()
    response = asking(_post, url(cluster) + "/infer", body)
    assert response is not None
    seconds = time.monotonic() - started
    (output,) = response["outputs"]
    served = np.array(output["data"], dtype=np.float32).reshape(output["shape"])
    difference = float(np.max(np.abs(served - expected)) / np.max(np.abs(expected)))

    console.print(f"$ curl -d @images.json {url(cluster)}/infer")
    table = Table(title=f"{len(images)} images, {seconds * 1000:.0f} ms")
    for column in ("image", "class", "served", "unconverted"):
        table.add_column(column, justify="right")
    for number, row in enumerate(served):
        for index in np.argsort(row)[::-1][:3]:
            table.add_row(str(number), str(index), f"{row[index]:.6f}", f"{expected[number][index]:.6f}")
    console.print(table)
    console.print(f"Largest relative difference to the unconverted model: {difference:.1e} (tolerance {TOLERANCE:.0e})")
    if difference > TOLERANCE:
        raise RuntimeError("the served answer is not the unconverted model's")


def _post(address: str, body: dict[str, Any]) -> dict[str, Any] | None:
    try:
        response = httpx.post(address, json=body, timeout=60)
        return dict(response.json()) if response.status_code == 200 else None
    except httpx.TransportError:
        return None


if __name__ == "__main__":
    sys.exit(main())
