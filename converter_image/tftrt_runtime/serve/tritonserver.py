"""tritonserver's command line and environment; the flags are those of version 2.51.0 (nvidia-pytriton 0.7.0)."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tftrt_runtime.serve import connections, limits, repository
from tftrt_runtime.serve.slots import Ends

# Clients must not load models, write traces or turn up the log; these APIs answer only to a header with a secret that
# nobody is told. tritonserver has no flag to leave them out.
RESTRICTED_APIS = "model-repository,trace,logging"


@dataclass(frozen=True)
class Ports:
    """Where to listen."""

    http: int
    grpc: int
    metrics: int


def command(models: Path, backends: Path, ports: Ports) -> list[str]:
    """The command line."""
    secret = secrets.token_hex(16)
    return [
        str(repository.tritonserver() / "bin" / "tritonserver"),
        f"--model-repository={models}",
        f"--backend-directory={backends}",
        "--model-control-mode=none",
        "--disable-auto-complete-config",
        "--exit-on-error=true",
        "--strict-readiness=true",
        f"--exit-timeout-secs={limits.EXIT_TIMEOUT_SECONDS}",
        f"--http-port={ports.http}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-port={ports.metrics}",
        "--allow-gpu-metrics=false",
        f"--http-restricted-api={RESTRICTED_APIS}:tftrt-admin={secret}",
        f"--grpc-restricted-protocol={RESTRICTED_APIS}:tftrt-admin={secret}",
        "--log-format=ISO8601",
    ]


def environment(inherited: Mapping[str, str], slots: Iterable[Ends], ports: Ports, batched: bool) -> dict[str, str]:
    """The environment of tritonserver.

    It links a CUDA of its own and would take a third of a GiB of the GPU: it sees no device.

    Raises:
        ServerFailed: the library that ends connections cannot be loaded.
    """
    libraries = [*map(str, repository.library_path()), *filter(None, [inherited.get("LD_LIBRARY_PATH")])]
    return {
        **inherited,
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        "CUDA_VISIBLE_DEVICES": "",
        "TFTRT_SLOTS": " ".join(map(str, slots)),
        "TFTRT_BATCHED": str(int(batched)),
        **connections.environment(inherited, ports.http, ports.grpc),
    }
