"""What a pod finds: a spec, a claim with a model and a store, and the package of a checkout."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FINGERPRINT = "0123456789abcdef0123456789abcdef"
MIB = 1 << 20


@dataclass(frozen=True)
class Build:
    """A checkout, by the name that the table has for it."""

    name: str
    folder: Path


@dataclass(frozen=True)
class Asked:
    """What is converted: a model of the converter's tests, and how."""

    model: str
    gpu: bool
    precision: str
    batch_sizes: tuple[int, ...]


class World:
    """The folders of one conversion by one build."""

    def __init__(self, root: Path, build: Build, asked: Asked, models: Path, runtime: dict[str, str]) -> None:
        self.root, self.build, self.asked, self.runtime = root, build, asked, runtime
        self.source = models / asked.model
        self.claims = root / "claims"
        (self.claims / "store").mkdir(parents=True)
        (self.claims / "models").symlink_to(models)

    @property
    def environment(self) -> dict[str, str]:
        """As a container has it."""
        return {
            **os.environ,
            "PYTHONPATH": str(self.build.folder / "converter_image"),
            "TFTRT_PVC_ROOT": str(self.claims),
            "TFTRT_SECRETS": str(self.root / "secrets"),
            "TFTRT_BUILD": "build",
            "TFTRT_TERMINATION_LOG": str(self.root / "termination"),
            "TFTRT_ARTIFACT": str(self.artifact),
        }

    @property
    def artifact(self) -> Path:
        """Where it is published: for the one kind of device that this machine has."""
        folder = self.claims / "store/artifacts/default" / FINGERPRINT
        return next(iter(folder.iterdir()), folder) if folder.exists() else folder

    def step(self, name: str) -> list[str]:
        """The command of a step of the Job."""
        spec = self._written("job", self._job())
        return [*_tftrt(name), "--spec", str(spec), "--workspace", str(self.root / "workspace")]

    def by_hand(self, target: Path) -> list[str]:
        """The command of a person."""
        options = ["--signature", "serve", "--precision", self.asked.precision]
        options += [option for size in self.asked.batch_sizes for option in ("-b", str(size))]
        return [*_tftrt("convert"), str(self.source), str(target), *options]

    def server(self, ports: tuple[int, int, int], memory_fraction: str | None) -> list[str]:
        """The command of a server of the artifact."""
        spec = {key: self._job()[key] for key in ("version", "model", "fingerprint", "runtime")}
        spec |= {"artifact": {"uri": "pvc://store/artifacts"}, "maxQueueDelayMicroseconds": 2000}
        spec |= {"memoryFraction": memory_fraction}
        listens = zip(("--http-port", "--grpc-port", "--metrics-port"), map(str, ports), strict=True)
        path = self._written("server", spec)
        return [*_tftrt("serve"), "--spec", str(path), *(text for option in listens for text in option)]

    def _job(self) -> dict[str, Any]:
        return {
            "version": 1,
            "model": {"namespace": "default", "name": self.asked.model},
            "fingerprint": FINGERPRINT,
            "source": {"uri": f"pvc://models/{self.asked.model}", "signature": "serve"},
            "conversion": {
                "precision": self.asked.precision,
                "maxWorkspaceSizeBytes": 1024 * MIB,
                "batchSizes": list(self.asked.batch_sizes),
            },
            "runtime": self.runtime,
            "artifacts": {"uri": "pvc://store/artifacts"},
        }

    def _written(self, name: str, spec: dict[str, Any]) -> Path:
        path = self.root / f"{name}.json"
        path.write_text(json.dumps(spec))
        return path


def _tftrt(command: str) -> list[str]:
    return [sys.executable, "-m", "tftrt_runtime", command]
