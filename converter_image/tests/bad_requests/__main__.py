"""The long run: `make bad-requests` writes `benchmarks/results/bad-requests.json`, of which is docs/reliability.md."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tests.bad_requests.cases import cases
from tests.bad_requests.memory import slope
from tests.bad_requests.request import MODEL
from tests.bad_requests.run import HONEST, Findings, bombard
from tests.box import Box

EACH = 500
SECONDS = 16 * 60.0
MODEL_PROCESS = "tftrt_runtime.serve.model_process"
MOST_MIB_AN_HOUR = {"tftrt_runtime": 1.0, "tritonserver": 20.0, MODEL_PROCESS: 5.0}
"""Of a process that does not grow: what its allocator may still take by chance in 12 minutes. tritonserver's, with a
thread for each of many connections, goes up and down by 4 MiB all the time."""
MOST_MIB_AN_HOUR_OF_OTHERS = 1.0
MOST_MIB_AN_HOUR_ON_3_11 = 60.0
"""Of the process that holds the model. TensorFlow 2.14.1 keeps 16 bytes of each tensor that Python 3.11 sees, 26 MiB an
hour at the rate of this run; on 3.10, which the images have, it keeps none (docs/decisions/0035)."""
ROOT = Path(__file__).parents[3]
RESULT = ROOT / "benchmarks" / "results" / "bad-requests.json"


def main(seconds: float = SECONDS) -> int:
    """Convert, serve and bombard the model for so long; 1 where something was not as it must be."""
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        script = Path(__file__).parents[1] / "models.py"
        subprocess.run([sys.executable, str(script), str(models), MODEL], check=True)
        box = Box(Path(folder) / "box", name=MODEL, models=models)
        box.convert_and_publish()
        server = box.serve()
        server.wait_until_ready()
        try:
            found = bombard(server, EACH, seconds)
        finally:
            ended = server.stop()
    faults = found.unexpected()
    if ended.code != 0:
        faults.append(f"the server ended with exit code {ended.code}: {ended.termination}")
    result = as_json(found)
    for process in result["memory"]:
        grown = process["mebibytesAnHour"]
        print(f"{process['process']:28} {process['atFirst']:8} -> {process['atLast']:8} MiB, {grown:+} MiB/hour")
        most = MOST_MIB_AN_HOUR.get(process["process"], MOST_MIB_AN_HOUR_OF_OTHERS)
        if sys.version_info >= (3, 11) and process["process"] == MODEL_PROCESS:
            most = MOST_MIB_AN_HOUR_ON_3_11
        if grown > most:
            faults.append(f"{process['process']} grew by {grown} MiB/hour")
    print(f"{result['requests']} bad requests in {result['seconds']} s; beside them {result['honest']}")
    print(*faults, sep="\n")
    if not faults and seconds >= SECONDS:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    return int(bool(faults))


def as_json(found: Findings) -> dict[str, Any]:
    """What came of it; memory in MiB."""
    told = []
    for case in cases():
        answers = {code: count for (of, code), count in found.answers.items() if of.name == case.name}
        told.append(
            {
                "kind": case.kind,
                "variant": case.variant,
                "protocol": case.protocol,
                "expected": case.expected,
                "own": case.own,
                "answers": answers,
            }
        )
    return {
        "step": "bad-requests",
        "finishedAt": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "seconds": round(found.seconds),
        "requests": sum(found.answers.values()),
        "arrived": found.arrived,
        "counted": {"answered": found.counted.answered, "dropped": found.counted.dropped},
        "cases": told,
        "honest": [
            {
                "protocol": protocol,
                "clients": HONEST,
                "requests": honest.answered + len(honest.failures),
                "failures": len(honest.failures),
                "longestSeconds": round(honest.longest, 2),
            }
            for protocol, honest in found.honest.items()
        ],
        "memory": [
            {
                "process": name,
                "atFirst": round(found.memory[0].resident[name], 1),
                "atLast": round(found.memory[-1].resident[name], 1),
                "mebibytesAnHour": round(slope(found.memory, name), 1),
                "eachMinute": [round(sample.resident[name], 1) for sample in found.memory[::60]],
            }
            for name in found.memory[0].resident
        ],
    }


def machine() -> dict[str, Any]:
    """What it ran on, in words that name no one machine."""
    processor = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor[1].strip() if processor else platform.machine(),
        "python": platform.python_version(),
    }


def commit() -> str:
    """The commit that is checked out."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
