"""What the operator would tell the containers that convert a network and serve it, on a machine without a cluster."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMESPACE = "benchmarks"
WORKSPACE_BYTES = 4 << 30


def environment(checkout: Path, work: Path) -> dict[str, str]:
    """In which the commands of a checkout run; `work` has the claims."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (checkout, checkout / "converter_image"))),
        "TFTRT_PVC_ROOT": str(work / "pvc"),
        # TensorFlow's own kernels for a GPU newer than itself are compiled at first use: once for all processes.
        "CUDA_CACHE_PATH": os.environ.get("CUDA_CACHE_PATH", str(work / "cuda-cache")),
        "CUDA_CACHE_MAXSIZE": str(4 << 30),
    }


def make_claims(work: Path) -> None:
    """Make the claims of models and of artifacts."""
    for claim in ("models", "store"):
        (work / "pvc" / claim).mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True)
class Task:
    """A network of `models.py`, which lies in the claim `models` of `work`, and what is made of it."""

    work: Path
    model: str
    precision: str
    batch_sizes: Sequence[int]
    accelerator: str

    def conversion(self) -> dict[str, Any]:
        """The task of a conversion's containers."""
        models, calibration = self.work / "pvc/models", None
        if self.precision == "INT8":
            size = min(self.batch_sizes)
            calibration = {"uri": f"pvc://models/{self.model}-calibration.npz", "samples": 128, "batchSize": size}
        verification = models / f"{self.model}-verification.npz"
        return {
            **self._both(),
            "source": {"uri": f"pvc://models/{self.model}", "signature": "serving_default"},
            "verification": {"uri": f"pvc://models/{verification.name}"} if verification.exists() else {},
            "conversion": {
                "precision": self.precision,
                "maxWorkspaceSizeBytes": WORKSPACE_BYTES,
                "batchSizes": self.batch_sizes,
                "calibration": calibration,
                **json.loads((models / f"{self.model}.json").read_text()),
            },
            "artifacts": {"uri": "pvc://store/tftrt"},
        }

    def server(self, memory_fraction: str | None) -> dict[str, Any]:
        """The task of a server; it is told by `TFTRT_ARTIFACT` where the artifact is."""
        told = {"maxQueueDelayMicroseconds": 2000, "artifact": {"uri": "pvc://store"}}
        return {**self._both(), "memoryFraction": memory_fraction, **told}

    def artifact(self) -> Path:
        """The folder of the converted model, with its manifest."""
        (folder,) = (self.work / "pvc/store/tftrt" / NAMESPACE / self._fingerprint()).iterdir()
        return Path(folder)

    def manifest(self) -> dict[str, Any]:
        """What the conversion says of it."""
        made: dict[str, Any] = json.loads((self.artifact() / "manifest.json").read_text())
        return made

    def _fingerprint(self) -> str:
        asked = f"{self.model} {self.precision} {self.batch_sizes} {WORKSPACE_BYTES}"
        return hashlib.sha256(asked.encode()).hexdigest()[:32]

    def _both(self) -> dict[str, Any]:
        gpu = self.accelerator == "GPU"
        return {
            "version": 1,
            "model": {"namespace": NAMESPACE, "name": self.model},
            "fingerprint": self._fingerprint(),
            "runtime": {
                "name": "triton" if gpu else "cpu",
                "accelerator": self.accelerator,
                "tensorflow": "2.14.1",
                "tensorrt": "8.5.3.1" if gpu else "",
            },
        }
