"""Lines of TF-TRT that mean that an engine is missing, and those that do not."""

from __future__ import annotations

import pytest

from tftrt_runtime.contract.errors import GPUOutOfMemory, NothingConvertible
from tftrt_runtime.convert.build_log import BuildLog

PREFIX = "2026-01-01 00:00:00.0: E tensorflow/compiler/tf2tensorrt/kernels/trt_engine_op.cc:1]"
TACTIC = f"{PREFIX} TRTEngineOp: Skipping tactic 3 due to insufficient memory on requested size of 4096 bytes"


def seen(*lines: str) -> BuildLog:
    log = BuildLog()
    for line in lines:
        log.see(line)
    return log


@pytest.mark.parametrize(
    "line",
    [
        "Engine creation for TRTEngineOp_000_000 failed. The native segment will be used instead. Reason: x",
        "Running native segment forTRTEngineOp_000_000 due to failure in verifying input shapes: Input shapes are "
        "inconsistent on the batch dimension",
        "Engine retrieval for input shapes: [[3,4]] failed. Running native segment for TRTEngineOp_000_000",
        "Calibration failed: INTERNAL: x",
        "Failed to add calibration optimization profile [min: []]. This usually happens when profile is invalid.",
    ],
)
def test_a_missing_engine_fails_the_run_with_tensorrts_own_words(line: str) -> None:
    failure = seen("harmless", f"{PREFIX} {line}", "more").failure()
    assert isinstance(failure, NothingConvertible)
    assert line in failure.message


@pytest.mark.parametrize(
    "want",
    [
        TACTIC,
        f"{PREFIX} Out of GPU memory for execution context TRTEngineOp_000_000",
        f"{PREFIX} DefaultLogger 1: [wrapper.cpp::CublasWrapper::85] Error Code 1: Cublas (Could not initialize "
        "cublas. Please check CUDA installation.)",
        f"{PREFIX} failed to create cublas handle: the resource allocation failed",
    ],
)
def test_a_missing_engine_for_want_of_memory_is_told_as_such(want: str) -> None:
    failure = seen(want, f"{PREFIX} Engine creation for TRTEngineOp_000_000 failed.").failure()
    assert isinstance(failure, GPUOutOfMemory)
    assert want in failure.message


def test_a_tactic_that_was_skipped_for_want_of_memory_is_no_failure() -> None:
    assert seen(TACTIC).failure() is None
