"""Runs commands one after the other, each within its time; what they write goes to one log while they run."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Commands:
    """The commands of one benchmark. Nothing that one of them started outlives it."""

    def __init__(self, log: Path, requests: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self.path = log
        self.log = log.open("a")
        self.requests = requests
        self.folder = folder
        self.environment = dict(environment)
        self.end = math.inf  # on the monotonic clock; what still runs then is stopped

    def run(
        self,
        command: Sequence[str],
        extra: Mapping[str, str] | None = None,
        check: bool = True,
        limit: float = math.inf,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, with these variables in its environment beside the usual ones.

        Raises:
            RuntimeError: it failed, or took longer than `limit` seconds or until `end`.
        """
        name = " ".join(command[1:4])
        self.log.write(f"$ {' '.join(command)}\n")
        self.log.flush()
        begin = self.path.stat().st_size
        left = max(min(limit, self.end - time.monotonic()), 0.0)
        started = subprocess.Popen(
            command,
            env={**self.environment, **(extra or {})},
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=self.folder,
            start_new_session=True,
        )
        try:
            output, _ = started.communicate(timeout=None if math.isinf(left) else left)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{name} was stopped after {left:.0f} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()
        errors = self.path.read_bytes()[begin:].decode(errors="replace")
        self.log.write(f"{output}-> {started.returncode}\n")
        self.log.flush()
        if check and started.returncode:
            raise RuntimeError(f"{name} ended with {started.returncode}: {errors[-800:]}")
        return subprocess.CompletedProcess(command, started.returncode, output, errors)

    def ask(
        self,
        module: str,
        asked: Mapping[str, Any],
        extra: Mapping[str, str],
        limit: float = math.inf,
    ) -> Any:
        """What a module answers that reads a request and writes an answer, each a JSON file.

        Raises:
            RuntimeError: as `run` does.
        """
        request, answer = self.requests / "request.json", self.requests / "answer.json"
        request.write_text(json.dumps(asked))
        answer.unlink(missing_ok=True)
        self.run([sys.executable, "-m", module, str(request), str(answer)], extra=extra, limit=limit)
        return json.loads(answer.read_text())
