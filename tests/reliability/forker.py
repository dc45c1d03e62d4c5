"""Starts operators: each is forked from this process, which has loaded the operator's modules once.

`python forker.py TIMERS`: TIMERS is a JSON object of modules, in each the timers to set, in seconds. It prints a line
`{"unknown": [...]}` with those that the build does not have, and reads a line `{"folder": ..., "arguments": [...]}` for
each operator to start. It prints `{"started": PID}`, and `{"ended": PID, "code": ...}` whenever one has ended: minus
the signal, where one ended it. Where there is nothing more to read, all end. An operator's working directory is its
folder, and its log is `operator.log` there.

A forked operator runs `tftrt_operator.__main__.main` as `python -m tftrt_operator` does, and is killed as any process
is. What is saved is a second of processor time for the imports. Nothing but the build is needed: older ones run, too.
"""

import gc
import importlib
import json
import os
import select
import signal
import sys
import traceback
from datetime import timedelta


def main() -> None:
    """Start operators until there is nothing more to read."""
    operator = importlib.import_module("tftrt_operator.__main__").main
    unknown = []
    for name, timers in json.loads(sys.argv[1]).items():
        unknown += _set(name, timers)
    gc.collect()
    gc.freeze()  # what is shared stays shared
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    # Without this a signal that comes just before we wait would be heard of with the next one only.
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _tell({"unknown": unknown})
    running: set[int] = set()
    rest = b""
    while True:
        readable, _, _ = select.select([0, woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
            _tell_ended(running)
        if 0 not in readable:
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                _run(operator, json.loads(line))
            running.add(pid)
            _tell({"started": pid})
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _set(name: str, timers: dict[str, float]) -> list[str]:
    try:
        module = importlib.import_module(name)
    except ImportError:
        return [f"{name}.{timer}" for timer in timers]
    for timer, seconds in timers.items():
        if hasattr(module, timer):
            is_delta = isinstance(getattr(module, timer), timedelta)
            setattr(module, timer, timedelta(seconds=seconds) if is_delta else seconds)
    return [f"{name}.{timer}" for timer in timers if not hasattr(module, timer)]


def _run(operator, wanted) -> None:  # type: ignore[no-untyped-def]
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.chdir(wanted["folder"])
        log = os.open("operator.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(old, new)
        sys.argv = ["tftrt-operator", *wanted["arguments"]]
        operator()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _tell_ended(running: set[int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        running.discard(pid)
        _tell({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _tell(what: dict[str, object]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main()
