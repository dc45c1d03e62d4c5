"""What becomes of errors that nobody expected, and what a child process sees of the machine."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf

from tftrt_runtime.contract.errors import (
    ChildAborted,
    Failure,
    GPUOutOfMemory,
    GPUUnfit,
    Internal,
    OutOfMemory,
    StoreUnavailable,
)
from tftrt_runtime.device import cuda
from tftrt_runtime.device.messages import DevicesAnswer, DevicesRequest
from tftrt_runtime.model import saved_model
from tftrt_runtime.processes import child

TENSOR = "OOM when allocating tensor with shape[32,512] and type float on /job:localhost/replica:0/task:0/device"
# What was told on an H100 whose memory a neighbour had taken.
NO_BLAS = "Attempting to perform BLAS operation using StreamExecutor without BLAS support"
NO_CONTEXT = (
    "Bad StatusOr access: INTERNAL: failed initializing StreamExecutor for CUDA device ordinal 0: INTERNAL: failed "
    "call to cuDevicePrimaryCtxRetain: CUDA_ERROR_OUT_OF_MEMORY: out of memory; total memory reported: 85017493504"
)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (tf.errors.ResourceExhaustedError(None, None, f"{TENSOR}:GPU:0 by allocator GPU_0_bfc"), GPUOutOfMemory),
        (tf.errors.InternalError(None, None, NO_BLAS), GPUOutOfMemory),
        (RuntimeError(NO_CONTEXT), GPUOutOfMemory),
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


def test_a_full_device_is_no_fault_of_the_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(_folder: str) -> None:
        raise RuntimeError(NO_CONTEXT)

    monkeypatch.setattr(tf.saved_model, "load", load)
    with pytest.raises(RuntimeError, match="CUDA_ERROR_OUT_OF_MEMORY"):
        saved_model.load(tmp_path, "pvc://models/cnn")


@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [
        pytest.param(2, GPUOutOfMemory, "no memory left for another process", id="CUDA_ERROR_OUT_OF_MEMORY"),
        pytest.param(100, GPUUnfit, "has the pod a GPU that works", id="CUDA_ERROR_NO_DEVICE"),
    ],
)
def test_a_device_that_is_full_is_told_from_one_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Failure], told: str
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace(cuInit=lambda _flags: code))
    with pytest.raises(kind, match=told) as failure:
        cuda.Cuda()
    assert f"cuInit failed with error {code}" in str(failure.value)


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
