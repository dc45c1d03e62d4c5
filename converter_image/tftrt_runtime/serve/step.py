"""The parent of a server: is the artifact what it should be, then tritonserver until it is told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import BinaryIO

from tftrt_runtime import log
from tftrt_runtime.contract.artifact import (
    CPU,
    MANIFEST,
    MODEL,
    Manifest,
    artifact_folder,
    build_folder,
    check_files,
    read_manifest,
)
from tftrt_runtime.contract.errors import (
    ArtifactNotFound,
    EngineDeviceMismatch,
    Failure,
    OutOfMemory,
    ServerFailed,
    StoreUnavailable,
    Terminated,
    failure,
)
from tftrt_runtime.contract.spec import ServerSpec
from tftrt_runtime.device.cuda import LAZY_KERNELS
from tftrt_runtime.device.tensorrt import NO_FALLBACK
from tftrt_runtime.processes import cgroup, child
from tftrt_runtime.serve import connections, limits, lost_device, repository, tritonserver
from tftrt_runtime.serve.connections import Connections
from tftrt_runtime.serve.messages import Failed, Served
from tftrt_runtime.serve.slots import Made

DRAIN_SECONDS = limits.EXIT_TIMEOUT_SECONDS + limits.KILL_SECONDS
# For the process that runs the model to end while it still loads it and does not know that tritonserver has ended.
LOADING_SECONDS = 1


def run(spec: ServerSpec, workspace: Path | None, ports: tritonserver.Ports) -> None:
    """Serve until SIGTERM, and then until the requests in flight are answered.

    Raises:
        ArtifactNotFound, ArtifactCorrupt, EngineDeviceMismatch: there is nothing that may be served.
        Failure: what kept the model from being ready.
        OutOfMemory: the kernel killed it at its memory limit.
        ServerFailed: tritonserver, or the process that runs the model, ended by itself.
    """
    folder = artifact_folder()
    manifest = _manifest(spec, folder)
    with _workspace(workspace) as work:
        served = Served(
            saved_model=str(build_folder(manifest, folder) / MODEL),
            inputs=manifest.summary.inputs,
            outputs=manifest.summary.outputs,
            batched=manifest.summary.batched,
            batch_sizes=manifest.summary.batchSizes,
            sample=manifest.sample,
            dynamic_shapes=manifest.dynamicShapes,
            input_shapes=manifest.inputShapes,
            may_fill=not repository.may_depend_on_others(spec, manifest),
            memory_fraction=spec.memoryFraction,
            peak_bytes=manifest.summary.memory.peakBytes if manifest.summary.memory else None,
            product=manifest.summary.product,
            tensorrt=manifest.summary.versions.tensorrt,
        )
        model, failed = work / "served.json", work / "failed.json"
        try:
            model.write_text(served.model_dump_json())
            repository.write_model(work / "models", spec, manifest)
            repository.link_backend(work / "backends")
        except OSError as error:
            raise StoreUnavailable(f"{work} cannot be written: {error}.") from error
        with connections.shared(ports.http) as clients, _slots() as slots:
            environment = tritonserver.environment(
                os.environ, (slot.tritons for slot in slots), ports, batched=manifest.summary.batched
            )
            command = tritonserver.command(work / "models", work / "backends", ports)
            with _model_process(slots, model, failed) as (runs_model, checked):
                # TensorFlow is imported meanwhile, which takes as long.
                with log.timed("serve", "Checked the artifact", folder=folder):
                    check_files(manifest, folder)
                checked.write(b"!")
                files = [file for slot in slots for file in slot.tritons]
                with _ended_with_this(child.start(command, environment, files)) as serves:
                    for slot in slots:
                        slot.close()
                    _serve(serves, runs_model, failed, clients)


def _manifest(spec: ServerSpec, folder: Path) -> Manifest:
    try:
        manifest = read_manifest(folder / MANIFEST)
    except OSError as error:
        raise StoreUnavailable(f"{folder / MANIFEST} cannot be read: {error}.") from error
    if manifest is None:
        raise ArtifactNotFound(
            f"There is no {MANIFEST} in {folder}: the artifact was deleted, or the wrong folder is mounted."
        )
    summary = manifest.summary
    if summary.fingerprint != spec.fingerprint:
        raise ArtifactNotFound(
            f"The artifact in {folder} has the fingerprint {summary.fingerprint}, and {spec.fingerprint} was asked "
            "for: the wrong folder is mounted."
        )
    if (summary.product == CPU) != (spec.runtime.accelerator == "None"):
        raise EngineDeviceMismatch(
            f"The artifact in {folder} was built for {summary.product}, and the runtime {spec.runtime.name!r} has the "
            f"accelerator {spec.runtime.accelerator}."
        )
    return manifest


@contextmanager
def _workspace(given: Path | None) -> Iterator[Path]:
    """The folder given, or one that is deleted in the end; in either a new one, so that nothing old is in the way."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tftrt-serve-", dir=given) as folder:
        yield Path(folder)


@contextmanager
def _slots() -> Iterator[list[Made]]:
    """The slots, open until both processes have theirs."""
    with ExitStack() as stack:
        made = []
        for _ in range(limits.SLOTS):
            made.append(Made())
            stack.callback(made[-1].close)
        yield made


@contextmanager
def _ended_with_this(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive what is done meanwhile, whatever ends that."""
    try:
        yield process
    finally:
        _kill_group(process)
        child.end(process)


@contextmanager
def _model_process(
    slots: Iterable[Made], model: Path, failed: Path
) -> Iterator[tuple[subprocess.Popen[str], BinaryIO]]:
    """The process that runs the model, which loads it once a byte is written into the file that comes with it."""
    ends = [slot.models for slot in slots]
    reads, writes = os.pipe()
    environment = {
        **os.environ,
        "TFTRT_MODEL": str(model),
        "TFTRT_FAILURE": str(failed),
        "TFTRT_SLOTS": " ".join(map(str, ends)),
        "TFTRT_CHECKED": str(reads),
        **NO_FALLBACK,
        **LAZY_KERNELS,
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1"),
    }
    command = [sys.executable, "-m", "tftrt_runtime.serve.model_process"]
    with open(reads, "rb"), open(writes, "wb", buffering=0) as checked:  # noqa: PTH123 - they are no paths
        process = child.start(command, environment, [reads, *(file for one in ends for file in one)])
        with _ended_with_this(process):
            yield process, checked


class ModelWatch(Thread):
    """Waits for the end of the process that runs the model, and ends tritonserver, which answers nothing without it."""

    def __init__(self, runs_model: subprocess.Popen[str], serves: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self._runs_model, self._serves = runs_model, serves
        self.start()

    def run(self) -> None:
        """Wait. Where the model ends by itself it is because tritonserver does, which has let go of it."""
        if self._runs_model.wait() and _runs(self._serves):
            self._serves.kill()


def _runs(process: subprocess.Popen[str]) -> bool:
    """Whether a child still runs. `poll` would not tell while another thread waits for it."""
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def _serve(
    serves: subprocess.Popen[str], runs_model: subprocess.Popen[str], failed: Path, clients: Connections
) -> None:
    """Wait for the end of tritonserver, or of the process that runs the model, and then end the other."""
    kills = cgroup.out_of_memory_kills()
    kept: deque[str] = deque(maxlen=child.KEPT_LINES)
    # Threads, for their lines must be read on while they drain, or they would stand still at a full pipe.
    readers = [
        Thread(target=_forward, args=(process, source, kept), daemon=True)
        for process, source in ((serves, "tritonserver"), (runs_model, "tensorflow"))
    ]
    for reader in readers:
        reader.start()
    ModelWatch(runs_model, serves)
    drained = False
    try:
        log.event("serve", "Started tritonserver", pid=serves.pid)
        log.event("serve", "Started TensorFlow", pid=runs_model.pid)
        serves.wait()
    except Terminated:
        drained = _drain(serves, clients)
    finally:
        _kill_group(serves)
        lost = _ended(runs_model, limits.KILL_SECONDS if clients.counts.listening else LOADING_SECONDS)
        for reader in readers:
            reader.join(limits.KILL_SECONDS)
        serves.wait()
    if not drained or lost:
        raise _failure(serves.returncode, lost, failed, kills, list(kept))
    if clients.counts.listening and serves.returncode == -signal.SIGKILL:
        raise ServerFailed(f"tritonserver had not drained {DRAIN_SECONDS} s after SIGTERM and was killed.")


def _kill_group(process: subprocess.Popen[str]) -> None:
    """Kill what is left of a process's session, which `child.start` made."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _ended(runs_model: subprocess.Popen[str], seconds: float) -> int | None:
    """End the process that runs the model, which does so by itself when tritonserver has.

    Its exit code, where it had ended otherwise before.
    """
    try:
        return runs_model.wait(seconds) or None
    except subprocess.TimeoutExpired:
        return None
    finally:
        _kill_group(runs_model)


def _drain(serves: subprocess.Popen[str], clients: Connections) -> bool:
    """Have tritonserver answer what is in flight, and end; whether it was there to be told so."""
    start = time.monotonic()
    # Before it has a model it does not listen, and there is nobody to be answered.
    answers = clients.counts.listening
    if answers:
        connections.leave(clients, 0, 0, lambda: _runs(serves))
    if not _runs(serves):
        return False
    child.end(serves, DRAIN_SECONDS if answers else 0)
    left = clients.counts
    unanswered = left.calls + left.unanswered
    said = {"calls": unanswered} if unanswered else {}
    message = "Ended before all calls were answered" if unanswered else "Drained"
    log.event("serve", message, **said, seconds=round(time.monotonic() - start, 3))
    return True


def _forward(process: subprocess.Popen[str], source: str, kept: deque[str]) -> None:
    """Pass a process's lines on, our own log lines as they are."""
    assert process.stderr is not None
    try:
        for line in process.stderr:
            text = line.rstrip()
            if text.startswith(log.OWN_LINE):
                print(text, file=sys.stderr, flush=True)
            elif text and not text.startswith(("+-", "| ")):  # its tables of options
                if child.may_tell_why(text):
                    kept.append(text)
                log.event("serve", text, source=source)
    except ValueError:
        return  # closed while we read: the process has ended


def _failure(code: int, lost: int | None, failed: Path, kills: int | None, lines: list[str]) -> Failure:
    """Why the server ended: what the model told, else what the kernel did, else the last error line.

    `code` is tritonserver's exit code; `lost` that of the process that runs the model, where it ended first; `kills`
    were the kernel's before.
    """
    if failed.exists():
        told = Failed.model_validate_json(failed.read_bytes())
        return failure(told.reason, told.message)
    died = code if lost is None else lost
    if died == -signal.SIGKILL and cgroup.killed(kills, cgroup.out_of_memory_kills()):
        return OutOfMemory("The kernel killed the server at its memory limit; raise spec.serving.resources.")
    if lost == -signal.SIGABRT and (why := lost_device.told(lines)):
        return lost_device.gpu_lost(why[: child.MOST_QUOTED])
    what = "tritonserver" if lost is None else "The process that runs the model"
    how = f"was ended by {signal.Signals(-died).name}" if died < 0 else f"ended with code {died}"
    return ServerFailed(f"{what} {how}; its last error line: {child.last_error(lines)}")
