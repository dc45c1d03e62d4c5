"""TensorFlow runs in a child process, so that an abort or a kill of it still ends in a code and a sentence.

The parent never imports TensorFlow. It hands the child a request in a file; an answer, or a failure, is in another.
To import it takes seconds: within `prepared` a process that has done so is forked for each child.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar, Union

from pydantic import BaseModel

from tftrt_runtime import log
from tftrt_runtime.contract.errors import (
    ChildAborted,
    Failure,
    GPUOutOfMemory,
    Internal,
    OutOfMemory,
    StoreUnavailable,
    failure,
)
from tftrt_runtime.device.cuda import LAZY_KERNELS
from tftrt_runtime.processes import cgroup, zygote
from tftrt_runtime.processes.prepared import Forked, Zygotes

Process = Union["subprocess.Popen[str]", Forked]
Request = TypeVar("Request", bound=BaseModel)
Answer = TypeVar("Answer", bound=BaseModel)

END_SECONDS = 5  # how long a child that is told to end may take before it is killed
KEPT_LINES = 50
MOST_QUOTED = 500  # characters of a line
# What looks like an error in the log of every start, and so is no reason for any end.
AT_EVERY_START = (
    "CudaDriverHelper has not been initialized",  # tritonserver 2.51, which is kept from the GPU
    "Attempting to register factory for plugin",  # TensorFlow 2.14 with CUDA, of cuDNN, cuFFT and cuBLAS
)
# Where a process was when it ended, and not why: the frames of tritonserver and of Python, and what Python had loaded,
# by modules some of which are named after errors. A process of many threads writes more of them than lines are kept.
WHEREABOUTS = re.compile(r'^\s*\d+#|^\s*File ".*", line \d+|^(Current thread|Thread) 0x|^Extension modules: ')
ERROR = (" E ", " F ", "terminate called", "Check failed", "Error", "error", "Fatal")
# TensorFlow's words for what it ends its process of.
FATAL = (" F ", "Check failed")
# TensorFlow's information lines (1 leaves them out) tell nothing of the model; its warnings do. By itself it would take
# all but a few hundred MiB of the device, past which TensorRT's builder allocates some of what it tries its kernels in:
# an encoder failed to be built on a GPU of 139 GiB for want of 0.3.
# A process that a library crashes says where in Python each of its threads was (docs.python.org, "faulthandler").
TENSORFLOW = {
    "TF_CPP_MIN_LOG_LEVEL": "1",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "PYTHONFAULTHANDLER": "1",
    **LAZY_KERNELS,
}
# In errors of types that tell nothing: CUDA's own word, and TensorFlow's where cuBLAS got no memory for itself.
NO_GPU_MEMORY = ("CUDA_ERROR_OUT_OF_MEMORY", "StreamExecutor without BLAS support")
DISK_TROUBLES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

_zygotes = Zygotes()


class Watch(Protocol):
    """Reads the lines on a child's standard error for failures that TensorFlow tells nowhere else."""

    def see(self, line: str) -> bool:
        """One line, as it comes; whether it belongs in the log."""

    def failure(self) -> Failure | None:
        """What the lines amount to, when the child has ended."""


def run(
    module: str,
    request: BaseModel,
    kind: type[Answer],
    stage: str,
    extra: Mapping[str, str] | None = None,
    watch: Watch | None = None,
) -> Answer:
    """Run `python -m module` on the request, with `extra` in its environment, and return what it answers.

    It is forked where TensorFlow was imported ahead, in the same environment.

    Raises:
        Failure: what `watch` saw, else the child's own; OutOfMemory, ChildAborted or Internal where it could not say.
    """
    kills = cgroup.out_of_memory_kills()
    with tempfile.TemporaryDirectory(prefix="tftrt-child-") as folder:
        request_path, answer_path = Path(folder, "request.json"), Path(folder, "answer.json")
        request_path.write_text(request.model_dump_json())
        environment = _environment(extra)
        arguments = [str(request_path), str(answer_path)]
        forked, why = _zygotes.fork(module, arguments, environment)
        process: Process = forked or start([sys.executable, "-m", module, *arguments], environment)
        try:
            told = {"imports": why} if why else {}
            log.event(stage, "Started TensorFlow in a child process", child=module, pid=process.pid, **told)
            lines = _forward(process, stage, watch)
            process.wait()
        finally:
            end(process)
        answered = answer_path.read_text() if answer_path.exists() else ""
    # A child that a signal ended did not come to an end by what it complained of.
    code = process.wait()
    seen = watch.failure() if watch and code >= 0 else None
    if seen is not None:
        raise seen
    if code == 0 and answered:
        return kind.model_validate_json(answered)
    raise _failure(code, answered, lines, kills)


@contextlib.contextmanager
def prepared(stage: str, extra: Mapping[str, str] | None = None, watch: Watch | None = None) -> Iterator[None]:
    """Have TensorFlow imported, while this process does other things, for what runs with `extra` in its environment.

    `watch` sees what it says meanwhile, and decides what of it belongs in the log.
    """

    def tell(line: str) -> None:
        if line and (watch is None or watch.see(line)):
            log.event(stage, line, source="tensorflow")

    with _zygotes.one(_environment(extra), start, tell):
        yield


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, **TENSORFLOW, **_first_device(os.environ), **(extra or {})}


def _first_device(environment: Mapping[str, str]) -> dict[str, str]:
    """Show a process the first GPU only: TensorFlow takes the memory of all that it sees."""
    visible = "CUDA_VISIBLE_DEVICES"
    return {visible: environment.get(visible, "0").split(",")[0]}


def start(command: Sequence[str], environment: Mapping[str, str], kept: Sequence[int] = ()) -> subprocess.Popen[str]:
    """Start a process whose standard error is ours to read, in a session of its own: Ctrl-C reaches it through us.

    The file descriptors `kept` are open in it, too.
    """
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=kept,
    )


def end(process: Process, seconds: float = END_SECONDS) -> None:
    """End a process that may still run: ask, wait, then kill."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except BaseException as error:  # out of time, or told a second time to end
            process.kill()
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
    if process.stderr:
        process.stderr.close()


def _forward(process: Process, stage: str, watch: Watch | None) -> list[str]:
    """Pass the child's lines on as log lines until it ends; the last ones that may say why."""
    assert process.stderr is not None
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    for line in process.stderr:
        text = line.rstrip()
        if text.startswith(log.OWN_LINE):
            log.pass_on(text)
        elif text:
            if watch and not watch.see(text):
                continue
            if may_tell_why(text):
                kept.append(text)
            log.event(stage, text, source="tensorflow")
    return list(kept)


def may_tell_why(line: str) -> bool:
    """Whether a line may say why a process ended, and is worth one of those that are kept."""
    return not WHEREABOUTS.search(line) and not any(known in line for known in AT_EVERY_START)


def last_error(lines: Sequence[str]) -> str:
    """What a process wrote of the error that ended it, to be quoted; that none of its lines is one, where none is."""
    return _last_error(lines)[:MOST_QUOTED]


def _last_error(lines: Sequence[str]) -> str:
    """C++'s last words, then TensorFlow's, then the last line that looks like an error."""
    told = [line for line in lines if may_tell_why(line)]
    for number, line in enumerate(told):
        if "terminate called" in line:
            what = next((one.strip() for one in told[number:] if one.lstrip().startswith("what():")), "")
            return f"{line} {what}".strip()
    for marks in (FATAL, ERROR):
        if errors := [line for line in told if any(mark in line for mark in marks)]:
            return errors[-1]
    return f"none, and its last line: {told[-1]}" if told else "none"


# Lines of a TensorFlow error that tell where in the graph it happened, not what.
WHERE = ("Graph execution error", "Detected at node", "Node:", "File ", "[[", "Traceback", "<stack traces")


def one_line(error: BaseException) -> str:
    """The type and the first telling line of an error, which TensorFlow makes pages of."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(WHERE)]
    return f"{type(error).__name__}: {next(iter(telling or lines), '')[:MOST_QUOTED]}"


def _failure(code: int, answered: str, lines: Sequence[str], kills: int | None) -> Failure:
    if code < 0:
        return died(signal.Signals(-code).name, kills, cgroup.out_of_memory_kills(), last_error(lines))
    if answered:
        told = json.loads(answered)
        return failure(told["reason"], told["message"])
    if code == StoreUnavailable.code:  # not even that could be written
        return StoreUnavailable(_last_error(lines))  # our own sentence, which is quoted whole
    return Internal(
        f"The TensorFlow process ended with exit code {code} and no answer; its last error line: {last_error(lines)}"
    )


def died(name: str, before: int | None, after: int | None, last: str) -> Failure:
    """Why a signal ended the child; `before` and `after` count the kernel's kills at the memory limit."""
    if name == "SIGKILL" and cgroup.killed(before, after):
        return OutOfMemory(
            "The kernel killed TensorFlow at the container's memory limit; raise spec.conversion.resources."
        )
    return ChildAborted(f"The TensorFlow process was ended by {name}; its last error line: {last}")


def answer(kind: type[Request], work: Callable[[Request], BaseModel]) -> NoReturn:
    """The child's side: do the work that the command line's first file asks for, and answer in the second.

    Then it ends at once, without Python's and TensorFlow's cleaning up: that takes up to a second, and where memory of
    a device is measured others change it meanwhile.
    """
    zygote.end_with(os.getppid())
    request_path, answer_path = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        answered = work(kind.model_validate_json(request_path.read_bytes())).model_dump_json()
        code = 0
    except Failure as error:
        answered, code = json.dumps({"reason": error.reason, "message": error.message}), error.code
    except Exception as error:
        traceback.print_tb(error.__traceback__)
        told = unforeseen(error)
        answered, code = json.dumps({"reason": told.reason, "message": told.message}), told.code
    try:
        written = answer_path.with_suffix(".part")
        written.write_text(answered)
        written.rename(answer_path)
    except OSError as error:
        # The parent reads this line and the code.
        print(unforeseen(error).message, file=sys.stderr)
        code = StoreUnavailable.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def unforeseen(error: Exception) -> Failure:
    """What nobody expected, as a failure. A disk's troubles reach TensorFlow as errors of many types with C's words."""
    told = one_line(error)
    if any(os.strerror(number) in str(error) for number in DISK_TROUBLES):
        return StoreUnavailable(
            f"A file could not be written, for the disk is full or read-only: {told}. Give the node's volumes more "
            "room, or spec.conversion.resources more ephemeral-storage."
        )
    if lacks_gpu_memory(error):
        return GPUOutOfMemory(
            f"The device had too little memory for the model: {told}. Lower spec.conversion.maxBatchSize, see what "
            "else uses the device, or use a larger one."
        )
    if _exhausted(error) or isinstance(error, MemoryError):
        return OutOfMemory(f"The host had too little memory: {told}. Raise spec.conversion.resources.")
    return Internal(f"Unexpected error: {told}")


def lacks_gpu_memory(error: Exception) -> bool:
    """Whether TensorFlow, which this module does not import, found too little memory on the device."""
    told = str(error)
    return (_exhausted(error) and "GPU" in told) or any(text in told for text in NO_GPU_MEMORY)


def _exhausted(error: Exception) -> bool:
    return type(error).__name__ == "ResourceExhaustedError"
