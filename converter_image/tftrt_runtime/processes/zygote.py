"""A process that has imported TensorFlow, and asks it nothing: it forks those that do, which takes milliseconds.

`python -m tftrt_runtime.processes.zygote FD`, where FD is one end of a pair of sockets (SOCK_SEQPACKET); the other end
is `prepared`'s. Each task that comes there becomes a process of its own, as fresh as one that has imported TensorFlow
by itself: no device, no thread and no model of any other is in it.

A fork takes only the thread that forks, and a device's context cannot be used in the child. So it is looked at before
each fork that there is one thread and that no device is open; where there is, nothing is forked, and the parent starts
a process by itself (docs/decisions/0049).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1  # prctl(2)
# The longest message: a task is a module, its arguments and a few variables of the environment.
MOST_BYTES = 1 << 16
TASKS = Path("/proc/self/task")
OPEN = Path("/proc/self/fd")
# NVIDIA's driver opens these when it is initialised, and not before.
DEVICES = ("/dev/nvidia", "/dev/dxg")
# What the tasks are: each imports what it needs, and TensorFlow with it.
IMPORTED = (
    "tensorflow",
    "tftrt_runtime.benchmark.timing",
    "tftrt_runtime.convert.cpu",
    "tftrt_runtime.convert.engines",
    "tftrt_runtime.device.devices",
    "tftrt_runtime.verification.check",
)


def main() -> NoReturn:
    """Import, then fork a process for each task, one after the other, until the parent is gone."""
    end_with(os.getppid())
    parent = socket.socket(fileno=int(sys.argv[1]))
    parent.set_inheritable(False)
    for module in IMPORTED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # a collection would write to every page, which is shared until it is written to
    while True:
        told, descriptors, _, _ = socket.recv_fds(parent, MOST_BYTES, 1)
        if not told:
            os._exit(0)  # to clean up TensorFlow takes longer than all that is left to do
        (errors,) = descriptors
        why = why_not()
        if why is not None:
            os.close(errors)
            parent.send(json.dumps({"refused": why}).encode())
            continue
        sys.stdout.flush()
        sys.stderr.flush()
        zygote = os.getpid()
        child = os.fork()
        if child == 0:
            end_with(zygote)
            parent.close()
            _become(json.loads(told), errors)
        os.close(errors)
        parent.send(json.dumps({"pid": child}).encode())
        _tell_its_end(parent, child)


def _tell_its_end(parent: socket.socket, child: int) -> None:
    """Tell the parent how the child ended, and keep its number from others until the parent has read that."""
    ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    parent.send(json.dumps({"code": code}).encode())
    parent.recv(MOST_BYTES)
    os.waitpid(child, 0)


def why_not() -> str | None:
    """Why a process that is forked now would not be as a fresh one; None where it would."""
    threads = len(list(TASKS.iterdir()))
    if threads != 1:
        return f"{threads} threads run in it"
    for descriptor in OPEN.iterdir():
        with contextlib.suppress(OSError):  # the one that lists them is closed by now
            if str(descriptor.readlink()).startswith(DEVICES):
                return f"{descriptor.readlink()} is open in it"
    return None


def end_with(parent: int) -> None:
    """Have the kernel end this process when its parent dies, even by SIGKILL; at once where it is dead already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGTERM)


def _become(task: dict[str, Any], errors: int) -> NoReturn:
    """Be what `python -m module arguments` is, with these variables in the environment, and this standard error."""
    code = 1
    try:
        os.setsid()
        os.dup2(errors, sys.stderr.fileno())
        os.close(errors)
        for name, value in task["environment"].items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        sys.argv = [task["module"], *task["arguments"]]
        sys.modules.pop(task["module"], None)  # it is run under another name, as `python -m` does
        runpy.run_module(task["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
