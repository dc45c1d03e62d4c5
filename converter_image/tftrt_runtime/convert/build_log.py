"""Failures that TF-TRT tells on standard error alone: it goes on without the engine and runs the part in TensorFlow."""

from __future__ import annotations

from tftrt_runtime.contract.errors import Failure, GPUOutOfMemory, NothingConvertible

FAILURES = (
    "Engine creation for",
    "Engine creation aborted",
    "failure in verifying input shapes",
    "Engine retrieval for input shapes",
    "Failed to execute engine",
    "Calibration failed",
    "Failed to add optimization profile",
    "Failed to add calibration optimization profile",
)
OUT_OF_MEMORY = (
    "out of memory",
    "Out of GPU memory",
    "OutOfMemory",
    "OOM when allocating",
    "insufficient memory",
    "ran out of memory",
    # Of cuBLAS, which takes memory for itself past TensorFlow's pool: seen on a device that a neighbour had filled.
    "Could not initialize cublas",
    "failed to create cublas handle",
)
TOLD_CHARACTERS = 400


class BuildLog:
    """Watches a child that builds or runs engines."""

    def __init__(self) -> None:
        self._failed: str | None = None
        self._out_of_memory: str | None = None

    def see(self, line: str) -> bool:
        """Keep the first line of each kind; all belong in the log."""
        if self._failed is None and any(text in line for text in FAILURES):
            self._failed = line
        if self._out_of_memory is None and any(text in line for text in OUT_OF_MEMORY):
            self._out_of_memory = line
        return True

    def failure(self) -> Failure | None:
        """An engine is missing; for want of memory where a line says so. Lack of memory alone only costs a tactic."""
        if self._failed is None:
            return None
        if self._out_of_memory is not None:
            return GPUOutOfMemory(
                "The device had too little memory to build or run an engine: lower spec.conversion.maxWorkspaceSize or "
                "maxBatchSize, see what else uses the device, or use a larger one. "
                f"TensorRT said: {self._out_of_memory[:TOLD_CHARACTERS]}"
            )
        return NothingConvertible(
            "TensorRT could not build or run an engine that TF-TRT had planned: raise "
            "spec.conversion.minimumSegmentSize to leave that part to TensorFlow, set spec.conversion.dynamicShapes "
            "where its inputs do not share one batch, or choose another precision. "
            f"TensorRT said: {self._failed[:TOLD_CHARACTERS]}"
        )
