"""The parent of a server: is the artifact what it should be, then tritonserver until it is told to end."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

from tftrt_runtime import log
from tftrt_runtime.contract.artifact import CPU, MANIFEST, MODEL, Manifest, artifact_folder, check_files, read_manifest
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
from tftrt_runtime.processes import cgroup, child
from tftrt_runtime.serve import connections, limits, lost_device, repository, tritonserver
from tftrt_runtime.serve.connections import Connections
from tftrt_runtime.serve.lifeline import End, Lifeline
from tftrt_runtime.serve.messages import Failed, Served

DRAIN_SECONDS = limits.EXIT_TIMEOUT_SECONDS + limits.KILL_SECONDS
SHARED_MEMORY = Path("/dev/shm")


def run(spec: ServerSpec, workspace: Path | None, ports: tritonserver.Ports) -> None:
    """Serve until SIGTERM, and then until the requests in flight are answered.

    Raises:
        ArtifactNotFound, ArtifactCorrupt, EngineDeviceMismatch: there is nothing that may be served.
        Failure: what kept the model from being ready.
        OutOfMemory: the kernel killed it at its memory limit.
        ServerFailed: tritonserver, or the process that runs the model, ended by itself.
    """
    folder = artifact_folder()
    with log.timed("serve", "Checked the artifact", folder=folder):
        manifest = _manifest(spec, folder)
        build = check_files(manifest, folder)
    with _workspace(workspace) as work:
        served = Served(
            saved_model=str(build / MODEL),
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
            backend = Lifeline(work / "lifeline")
            model.write_text(served.model_dump_json())
            repository.write_model(work / "models", spec, manifest)
            repository.link_python_backend(work / "backends")
        except OSError as error:
            raise StoreUnavailable(f"{work} cannot be written: {error}.") from error
        with _shared_memory() as shared_memory, connections.shared(ports.http) as clients:
            _serve(
                tritonserver.command(work / "models", work / "backends", ports, shared_memory),
                tritonserver.environment(
                    os.environ, model, failed, backend.path, ports, batched=manifest.summary.batched
                ),
                failed,
                backend,
                clients,
            )


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
def _shared_memory() -> Iterator[str]:
    """A prefix for names in /dev/shm. A backend that dies leaves its regions there; restarts would fill it."""
    prefix = f"tftrt-{secrets.token_hex(8)}"
    try:
        yield prefix
    finally:
        for region in SHARED_MEMORY.glob(f"{prefix}*"):
            region.unlink(missing_ok=True)


class BackendWatch(Thread):
    """Waits for the end of the backend's process, without which tritonserver answers nothing, and ends tritonserver."""

    def __init__(self, lifeline: Lifeline, process: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self._lifeline = lifeline
        self._process = process
        self.lost: End | None = None
        self.start()

    def run(self) -> None:
        """Wait."""
        end = self._lifeline.wait()
        if not end.expected and _runs(self._process):
            self.lost = end
            self._process.kill()


def _runs(process: subprocess.Popen[str]) -> bool:
    """Whether a child still runs. `poll` would not tell while another thread waits for it."""
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def _serve(
    command: list[str], environment: dict[str, str], failed: Path, lifeline: Lifeline, clients: Connections
) -> None:
    kills = cgroup.out_of_memory_kills()
    kept: deque[str] = deque(maxlen=child.KEPT_LINES)
    process = child.start(command, environment)
    # A thread, for its lines must be read on while it drains, or it would stand still at a full pipe.
    reader = Thread(target=_forward, args=(process, kept), daemon=True)
    reader.start()
    watch = BackendWatch(lifeline, process)
    drained = False
    try:
        log.event("serve", "Started tritonserver", pid=process.pid)
        process.wait()
    except Terminated:
        drained = _drain(process, lifeline, clients)
    finally:
        _kill_group(process)
        reader.join(limits.KILL_SECONDS)
        child.end(process)
    if watch.lost or not drained:
        raise _failure(process.returncode, failed, watch.lost, kills, list(kept))
    if lifeline.loaded and process.returncode == -signal.SIGKILL:
        raise ServerFailed(f"tritonserver had not drained {DRAIN_SECONDS} s after SIGTERM and was killed.")


def _kill_group(process: subprocess.Popen[str]) -> None:
    """Kill what is left of tritonserver's session, which `child.start` made: a backend outlives it that still loads."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _drain(process: subprocess.Popen[str], lifeline: Lifeline, clients: Connections) -> bool:
    """Have tritonserver answer what is in flight, and end; whether it was there to be told so."""
    start = time.monotonic()
    # Before it has a model and listens there is nobody to be answered.
    answers = lifeline.loaded and clients.counts.listening
    if answers:
        connections.leave(clients, 0, 0, lambda: _runs(process))
    if not _runs(process):
        return False
    child.end(process, DRAIN_SECONDS if answers else 0)
    left = clients.counts
    unanswered = left.calls + left.unanswered
    said = {"calls": unanswered} if unanswered else {}
    message = "Ended before all calls were answered" if unanswered else "Drained"
    log.event("serve", message, **said, seconds=round(time.monotonic() - start, 3))
    return True


def _forward(process: subprocess.Popen[str], kept: deque[str]) -> None:
    """Pass tritonserver's lines on, our own log lines as they are."""
    assert process.stderr is not None
    try:
        for line in process.stderr:
            text = line.rstrip()
            if text.startswith(log.OWN_LINE):
                print(text, file=sys.stderr, flush=True)
            elif text and not text.startswith(("+-", "| ")):  # its tables of options
                if child.may_tell_why(text):
                    kept.append(text)
                log.event("serve", text, source="tritonserver")
    except ValueError:
        return  # closed while we read: the process has ended


def _failure(code: int, failed: Path, lost: End | None, kills: int | None, lines: list[str]) -> Failure:
    """Why the server ended: what the model told, else what the kernel did, else the last error line.

    `code` is tritonserver's; `lost` is how its backend ended, where that came first; `kills` were the kernel's before.
    """
    if failed.exists():
        told = Failed.model_validate_json(failed.read_bytes())
        return failure(told.reason, told.message)
    died = lost.code if lost else code
    if died in (None, -signal.SIGKILL) and cgroup.killed(kills, cgroup.out_of_memory_kills()):
        return OutOfMemory("The kernel killed the server at its memory limit; raise spec.serving.resources.")
    if lost and died == -signal.SIGABRT and (why := lost_device.told(lines)):
        return lost_device.gpu_lost(why[: child.MOST_QUOTED])
    what = f"The process that runs the model {lost.how}" if lost else f"tritonserver {End(False, code).how}"
    return ServerFailed(f"{what}; its last error line: {child.last_error(lines)}")
