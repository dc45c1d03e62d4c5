"""What becomes of errors that nobody expected, and what a child process sees of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from tftrt_runtime import child
from tftrt_runtime.convert.messages import DevicesAnswer, DevicesRequest
from tftrt_runtime.errors import ChildAborted, Failure, GPUOutOfMemory, Internal, OutOfMemory, StoreUnavailable

TENSOR = "OOM when allocating tensor with shape[32,512] and type float on /job:localhost/replica:0/task:0/device"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (tf.errors.ResourceExhaustedError(None, None, f"{TENSOR}:GPU:0 by allocator GPU_0_bfc"), GPUOutOfMemory),
        (tf.errors.ResourceExhaustedError(None, None, f"{TENSOR}:CPU:0 by allocator cpu"), OutOfMemory),
        (tf.errors.ResourceExhaustedError(None, None, "/tmp/x; No space left on device"), StoreUnavailable),
        (MemoryError("Unable to allocate 8.00 TiB"), OutOfMemory),
        (OSError(30, "Read-only file system"), StoreUnavailable),
        (KeyError("x"), Internal),
    ],
)
def test_what_the_machine_lacks_is_told_from_what_is_wrong(error: Exception, kind: type[Failure]) -> None:
    told = child.unforeseen(error)
    assert type(told) is kind
    assert child.one_line(error) in told.message


@pytest.mark.parametrize(
    ("environment", "visible"),
    [
        ({}, "0"),
        ({"CUDA_VISIBLE_DEVICES": "2,3"}, "2"),
        ({"CUDA_VISIBLE_DEVICES": "MIG-a,MIG-b"}, "MIG-a"),
        ({"CUDA_VISIBLE_DEVICES": ""}, ""),
    ],
)
def test_a_child_sees_the_first_gpu_only(environment: dict[str, str], visible: str) -> None:
    assert child._first_device(environment) == {"CUDA_VISIBLE_DEVICES": visible}


def test_a_child_that_a_library_crashes_says_where_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "crashing.py").write_text("import ctypes\n\nctypes.string_at(0)\n")
    with pytest.raises(ChildAborted, match=r"SIGSEGV.*Segmentation fault"):
        child.run("crashing", DevicesRequest(), DevicesAnswer, "convert", {"PYTHONPATH": str(tmp_path)})
    assert 'crashing.py\\", line 3' in capfd.readouterr().err
