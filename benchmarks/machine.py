"""The machine that was measured on, in words that name no one machine."""

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.tools import kubernetes_version


@dataclass(frozen=True, slots=True)
class Machine:
    """What a duration depends on; memory in GiB."""

    cores: int
    processor: str
    memory_gib: int
    kubernetes: str
    python: str


def machine() -> Machine:
    """Return what this one is."""
    processor = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        processor=processor[1].strip() if processor else platform.machine(),
        memory_gib=round(memory / 2**30),
        kubernetes=kubernetes_version(),
        python=platform.python_version(),
    )


def machine_sentence(machine: Machine) -> str:
    """Say what was measured on."""
    return (
        f"Measured on {machine.cores} cores ({machine.processor}) with {machine.memory_gib} GiB of memory, which "
        f"the control plane (Kubernetes {machine.kubernetes}), the operator (Python {machine.python}) and the "
        "benchmark share."
    )
