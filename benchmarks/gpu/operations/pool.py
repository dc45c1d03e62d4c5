"""Processes that measure, each one graph at a time. One that ends loses the graph that it had, and is started again."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from benchmarks.gpu.operations.record import LOG, Lines, Row, Task

STARTS = 3  # of a process that ends before it is ready, one after the other
TOLD_CHARACTERS = 1500


class Pool:
    """Measures tasks in so many processes, until there are no more or the time is over."""

    def __init__(
        self, command: Sequence[str], folder: Path, lines: Lines, about: dict[str, Any], limit: float, end: float
    ) -> None:
        """What runs is `command` with a folder of its own behind it.

        `about` is added to every row; a graph may take `limit` seconds; nothing is measured after `end`, of the
        monotonic clock.
        """
        self.command, self.folder, self.lines, self.about = command, folder, lines, about
        self.limit, self.end = limit, end
        self.waiting: SimpleQueue[Task] = SimpleQueue()
        self.rows: list[Row] = []
        self.failed_starts: list[str] = []
        self._writing = threading.Lock()

    def run(self, tasks: Iterable[Task], workers: int) -> list[Row]:
        """All rows."""
        for task in tasks:
            self.waiting.put(task)
        threads = [threading.Thread(target=self._work, args=(self.folder / str(index),)) for index in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.rows

    def _work(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        starts = 0
        while starts < STARTS and not self._is_over() and not self.waiting.empty():
            with Worker([*self.command, str(folder)], self.end) as worker:
                machine = worker.read(self.limit)
                if machine is None:
                    starts += 1
                    if not self._is_over():
                        self.failed_starts.append(_end_of(folder / LOG))
                    continue
                starts = 0
                self._ask(worker, machine, folder)

    def _ask(self, worker: Worker, machine: Row, folder: Path) -> None:
        """Have this process measure for as long as it lives."""
        while not self._is_over():
            try:
                task = self.waiting.get_nowait()
            except Empty:
                return
            started = time.monotonic()
            row = worker.ask(task.asked(), self.limit)
            if row is None and self._is_over():
                return  # it was stopped, and its graph is not measured
            if row is None:
                row = {**task.asked(), "ended": self._why(worker, started, folder)}
            is_last = row.pop("last", False) or "ended" in row
            self._add({**row, "machine": machine, **self.about})
            if is_last:
                return

    def _why(self, worker: Worker, started: float, folder: Path) -> str:
        if time.monotonic() - started >= self.limit:
            return f"It took longer than {self.limit:.0f} s."
        return f"The process ended with {worker.wait()}: {_end_of(folder / LOG)}"

    def _add(self, row: Row) -> None:
        with self._writing:
            self.lines.add(row)
            self.rows.append(row)
            print(_in_short(row), flush=True)

    def _is_over(self) -> bool:
        return time.monotonic() >= self.end


class Worker:
    """A process that answers a line with a line. It ends with the block, or when its time is over."""

    def __init__(self, command: Sequence[str], end: float) -> None:
        self._end = end
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, task: dict[str, str], limit: float) -> Row | None:
        """The answer; None where the process ended, or was ended because it took longer than `limit`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        return self.read(limit)

    def read(self, limit: float) -> Row | None:
        """The next line; None as above."""
        assert self._process.stdout is not None
        left = max(min(limit, self._end - time.monotonic()), 0)
        timer = threading.Timer(left, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        # A line that is cut is of a process that ended while it wrote.
        return json.loads(line) if line.endswith("\n") else None

    def wait(self) -> int:
        """How it ended: the exit code, or less than 0 for a signal."""
        return self._process.wait()


def _in_short(row: Row) -> str:
    """A line for whoever watches."""
    told = row.get("ended") or row.get("failed") or f"{row.get('engines', 'no')} engines"
    error = row["error"]["relative"] if "error" in row else "-"
    name = f"{row['operation']} {row['precision']}-{row['shapes']}"
    return f"{name}: {told.splitlines()[0][:100]}, error {error}, {row.get('seconds', '-')} s"


def _end_of(log: Path) -> str:
    """The last that a process told of what went wrong, without TensorRT's verbose lines."""
    if not log.exists():
        return ""
    lines = log.read_text(errors="replace")[-200_000:].splitlines()
    told = [line for line in lines if line.strip() and ": I " not in line and ": V " not in line]
    return "\n".join(told[-12:])[-TOLD_CHARACTERS:]
