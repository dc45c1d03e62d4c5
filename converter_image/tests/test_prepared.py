"""Processes that are forked from one that has imported TensorFlow: as fresh as others, and they end as others do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.box import Box, until
from tftrt_runtime.contract.errors import ChildAborted, Failure, NothingConvertible
from tftrt_runtime.convert.layer_log import VERBOSE
from tftrt_runtime.device.messages import DevicesAnswer, DevicesRequest
from tftrt_runtime.device.tensorrt import NO_FALLBACK
from tftrt_runtime.processes import child

# A child that says of itself what the test wants to know, in the name of TensorFlow's version.
SAYS = """
import json, os, sys
from tftrt_runtime.device.messages import DevicesAnswer, DevicesRequest
from tftrt_runtime.processes import child

def work(request):
    {work}
    return DevicesAnswer(tensorflow=json.dumps(told), gpus=())

if __name__ == "__main__":
    child.answer(DevicesRequest, work)
"""

Says = Callable[..., Any]


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Says]:
    """A function from what a child does to what it tells, in processes that are forked."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    number = 0

    def run(work: str, extra: dict[str, str] | None = None) -> Any:
        nonlocal number
        number += 1
        module = tmp_path / f"says{number}.py"
        module.write_text(SAYS.format(work=textwrap.indent(work, "    ").strip()))
        if number == 1:  # and not in the fixture: pytest changes the environment from it to the test
            stack.enter_context(child.prepared("convert"))
        answer = child.run(module.stem, DevicesRequest(), DevicesAnswer, "convert", extra)
        return json.loads(answer.tensorflow)

    with contextlib.ExitStack() as stack:
        yield run


HAS_TENSORFLOW = "told = ['tensorflow' in sys.modules, os.getppid()]"


def test_a_child_is_forked_with_tensorflow_imported(says: Says) -> None:
    first, second = says(HAS_TENSORFLOW), says(HAS_TENSORFLOW)
    assert first == second
    assert first[0]
    assert first[1] != os.getpid()


def test_what_one_child_does_to_itself_another_one_does_not_have(says: Says) -> None:
    work = """
import tensorflow as tf
told = [
    tf.config.experimental.tensor_float_32_execution_enabled(),
    len(os.listdir("/proc/self/task")),
    os.environ.get("LEFT"),
    tf.compat.v1.get_default_graph().unique_name("x"),
    str(tf.executing_eagerly() and tf.constant(1) + 1),
]
tf.config.experimental.enable_tensor_float_32_execution(False)
os.environ["LEFT"] = "something"
"""
    first, second = says(work), says(work)
    assert first == second
    assert first[:3] == [True, 1, None]


def test_a_child_has_the_variables_that_it_is_run_with(says: Says) -> None:
    work = f"told = [{HAS_TENSORFLOW.partition('= [')[2][:-1].partition(',')[0]}, dict(os.environ)]"
    forked, seen = says(work, {**NO_FALLBACK, "CUDA_VISIBLE_DEVICES": "-1"})
    assert forked
    own = {"TF2_BEHAVIOR", "TPU_ML_PLATFORM"}  # TensorFlow sets them when it is imported
    expected = {**os.environ, **child.TENSORFLOW, **NO_FALLBACK, "CUDA_VISIBLE_DEVICES": "-1"}
    assert {name: value for name, value in seen.items() if name not in own} == {
        name: value for name, value in expected.items() if name not in own
    }
    forked, seen = says(work)
    assert forked
    assert "TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION" not in seen
    assert seen["CUDA_VISIBLE_DEVICES"] == "0"


def test_a_child_with_variables_that_an_import_may_read_is_a_process_of_its_own(says: Says) -> None:
    assert says(HAS_TENSORFLOW, VERBOSE) == [False, os.getpid()]
    with child.prepared("convert", VERBOSE):
        assert says(HAS_TENSORFLOW, VERBOSE)[0]
        assert says(HAS_TENSORFLOW)[0], "the other one is still there"


@pytest.mark.parametrize(
    ("prepares", "why"),
    [
        pytest.param(
            "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
            "threads run in it",
        ),
        pytest.param("import os; kept = os.open('/dev/nvidia-tftrt-test', os.O_RDONLY)", "is open in it"),
    ],
)
def test_nothing_is_forked_from_a_process_with_threads_or_a_device(
    says: Says, tmp_path: Path, capfd: pytest.CaptureFixture[str], prepares: str, why: str
) -> None:
    device = Path("/dev/nvidia-tftrt-test")
    if "nvidia" in prepares:
        if os.geteuid() != 0:
            pytest.skip("only root may write to /dev")
        device.write_text("")
    try:
        (tmp_path / "sitecustomize.py").write_text(
            f"import sys\nif 'tftrt_runtime.processes.zygote' in ' '.join(sys.orig_argv):\n    {prepares}\n"
        )
        with child.prepared("convert", {"TFTRT_TEST": "1"}):
            assert says(HAS_TENSORFLOW, {"TFTRT_TEST": "1"}) == [False, os.getpid()]
        assert why in capfd.readouterr().err
    finally:
        device.unlink(missing_ok=True)


def test_a_failure_of_a_forked_child_is_told_as_of_any_other(says: Says) -> None:
    with pytest.raises(NothingConvertible, match=r"^so it is$"):
        says("from tftrt_runtime.contract.errors import NothingConvertible\nraise NothingConvertible('so it is')")
    with pytest.raises(Failure, match="KeyError: 'x'"):
        says("raise KeyError('x')")


def test_a_forked_child_that_is_killed_takes_nobody_with_it(says: Says, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ChildAborted, match=r"SIGSEGV.*Segmentation fault"):
        says("import ctypes; ctypes.string_at(0)")
    assert "ctypes" in capfd.readouterr().err, "it says where it was"
    with pytest.raises(ChildAborted, match="SIGKILL"):
        says("os.kill(os.getpid(), 9)")
    assert says(HAS_TENSORFLOW)[0]


def test_without_what_they_are_forked_from_processes_are_started(says: Says) -> None:
    with pytest.raises(ChildAborted, match="SIGKILL"):
        says(f"assert os.getppid() != {os.getpid()}; os.kill(os.getppid(), 9); import time; time.sleep(60)")
    assert says(HAS_TENSORFLOW) == [False, os.getpid()]


def test_nothing_outlives_a_command_that_is_killed(tmp_path: Path, models: Path) -> None:
    box = Box(tmp_path, name="slow", models=models)
    process = at_work(box)
    own = descendants(process.pid)
    assert len(own) == 2, "the one with TensorFlow, and the one that it forked"
    process.kill()
    process.communicate()
    for _ in until("the end of all processes of the conversion"):
        if not any(Path(f"/proc/{pid}").exists() and not is_zombie(pid) for pid in own):
            break


def test_a_command_that_is_told_to_end_ends_what_it_forked(tmp_path: Path, models: Path) -> None:
    box = Box(tmp_path, name="cnn", models=models)
    process = at_work(box)
    own = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    assert box.finish(process).code == 128 + signal.SIGTERM
    assert not [pid for pid in own if Path(f"/proc/{pid}").exists() and not is_zombie(pid)]


def at_work(box: Box) -> subprocess.Popen[str]:
    """A conversion that has loaded its model."""
    for step in ("lookup", "fetch"):
        assert box.run(step).code == 0
    process = box.start("convert")
    assert process.stderr is not None
    for line in process.stderr:
        if "Loaded the unconverted model" in line:
            break
    return process


def descendants(pid: int) -> set[int]:
    """The numbers of a process's children, and of theirs."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(one): int(other) for one, other in map(str.split, listed.splitlines())}
    found = {pid}
    while more := {one for one, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
