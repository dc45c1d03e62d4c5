"""`gpu.memory` holds: the driver sees no more of it taken by a server's processes, alone and beside another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.driver_memory import Driver, sampled
from benchmarks.gpu.memory import GB, fraction
from tests.gpu.test_gpu import ask, server

BUDGETS = (4 * GB, 8 * GB)
WORKSPACE_BYTES = 2 * GB
REQUESTS = 200


def test_two_servers_stay_within_their_budgets_under_load(fp16: Any, models: Path) -> None:
    summary = fp16.manifest["summary"]
    reserve = max(WORKSPACE_BYTES, summary["memory"]["overheadBytes"])
    parts = [fraction(budget, reserve, summary["device"]["memoryBytes"]) for budget in BUDGETS]
    with np.load(models / "cnn.npz") as arrays:
        image, expected = arrays["image"], arrays["classes"]

    def load(running: Any) -> None:
        for _ in range(REQUESTS):
            np.testing.assert_allclose(ask(running, image), expected, atol=0.01)

    with sampled(Driver()) as peaks:
        servers = [server(fp16, part, f"promise-{part}") for part in parts]
        for running in servers:
            running.wait_until_ready()
        with ThreadPoolExecutor(len(servers)) as threads:
            list(threads.map(load, servers))
        for running in servers:
            assert running.stop().code == 0
    taken = [peaks.children[running.process.pid] for running in servers]
    print(parts, taken, peaks.samples)
    for budget, part, peak in zip(BUDGETS, parts, taken, strict=True):
        pool = float(part) * summary["device"]["memoryBytes"]
        assert pool <= peak <= budget, "the pool is reserved whole, and all else is beside it"
