"""Whether INT8 has ranges of the model's numbers: seen in the model's file, before TensorFlow and a GPU are asked."""

from __future__ import annotations

import mmap
from pathlib import Path

from tftrt_runtime.contract.errors import CalibrationDataUnfit
from tftrt_runtime.contract.spec import JobSpec

# What training with quantization leaves in a graph. Operations have their kinds' names in the file as they are.
OPERATION = b"FakeQuant"
MODELS = ("*.pb", "*.pbtxt")


def expect_some(spec: JobSpec, source: Path) -> None:
    """Hold that there is data to calibrate with, or that the model in the folder may have ranges of its own.

    Raises:
        CalibrationDataUnfit: neither.
    """
    if spec.conversion.precision != "INT8" or spec.conversion.calibration is not None:
        return
    models = [path for pattern in MODELS for path in sorted(source.rglob(pattern))]
    if models and not any(_has(path) for path in models):
        raise none()


def none() -> CalibrationDataUnfit:
    """Neither data nor the graph gives any."""
    return CalibrationDataUnfit(
        "INT8 needs the ranges of the model's numbers, and this graph has none of its own that is a constant and of "
        "all channels (FakeQuant of its activations, from training with quantization): give samples in "
        "spec.conversion.calibration, or set spec.conversion.precision to FP16."
    )


def _has(path: Path) -> bool:
    if not path.stat().st_size:  # nothing can be mapped
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(OPERATION) >= 0
