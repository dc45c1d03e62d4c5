"""How late this process wakes up."""

from __future__ import annotations

import threading
from pathlib import Path

from tftrt_runtime.processes import timers

LINUX_NANOSECONDS = 50_000


def test_threads_started_later_wake_up_on_time_and_others_as_before() -> None:
    found: list[int] = []

    def look() -> None:
        # The file is about the thread whose number names its folder, also where it is no process of its own.
        found.append(int(Path(f"/proc/{threading.get_native_id()}/timerslack_ns").read_text()))

    def change_and_start() -> None:
        timers.set_slack()
        inner = threading.Thread(target=look)
        inner.start()
        inner.join()

    outer = threading.Thread(target=change_and_start)
    outer.start()
    outer.join()
    look()
    assert found == [1, LINUX_NANOSECONDS]
