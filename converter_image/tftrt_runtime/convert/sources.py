"""What was fetched, made into what the conversion takes; in child processes that see no GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.contract.spec import JobSpec
from tftrt_runtime.convert.messages import (
    BindAnswer,
    BindRequest,
    CalibrationAnswer,
    CalibrationData,
    CalibrationRequest,
    FreezeAnswer,
    FreezeRequest,
    ImportAnswer,
    ImportRequest,
)
from tftrt_runtime.processes import child

NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1"}


def saved_model(spec: JobSpec, source: Path, target: Path) -> Path:
    """The SavedModel's folder: the source itself, or `target`, where one is made of a frozen graph or of bound inputs.

    Raises:
        NotAModel, SignatureNotFound: it is no frozen graph, or has not the tensors that the spec names.
    """
    if spec.source.format == "SavedModel":
        return bound(spec, source, target) if spec.source.values else source
    request = ImportRequest(
        uri=spec.source.uri,
        source=str(source),
        inputs=spec.source.inputs,
        outputs=spec.source.outputs,
        values=spec.source.values,
        signature=spec.source.signature,
        target=str(target),
    )
    child.run("tftrt_runtime.convert.frozen_graph", request, ImportAnswer, "convert", NO_GPU)
    return target


def bound(spec: JobSpec, source: Path, target: Path) -> Path:
    """The folder `target`, with the SavedModel in which inputs with `source.values` are constants.

    Raises:
        NotAModel, SignatureNotFound: it has no such inputs, or they take other values.
    """
    request = BindRequest(
        uri=spec.source.uri,
        source=str(source),
        signature=spec.source.signature,
        values=spec.source.values,
        shapes={},
        target=str(target),
    )
    child.run("tftrt_runtime.convert.bound", request, BindAnswer, "convert", NO_GPU)
    return target


def ranked(spec: JobSpec, source: Path, target: Path, unranked: Sequence[Tensor]) -> Path:
    """The folder `target`, with the SavedModel in which these inputs, of any rank in `source`, have their shapes."""
    request = BindRequest(
        uri=spec.source.uri,
        source=str(source),
        signature=spec.source.signature,
        values={},
        shapes={tensor.name: tuple(None if size < 0 else size for size in tensor.shape) for tensor in unranked},
        target=str(target),
    )
    child.run("tftrt_runtime.convert.bound", request, BindAnswer, "convert", NO_GPU)
    return target


def frozen(spec: JobSpec, source: Path, target: Path) -> Path:
    """The folder `target`, with the SavedModel in which variables are constants and tables lie beside the graph."""
    request = FreezeRequest(
        uri=spec.source.uri, source=str(source), signature=spec.source.signature, target=str(target)
    )
    child.run("tftrt_runtime.convert.constants", request, FreezeAnswer, "convert", NO_GPU)
    return target


def calibration(spec: JobSpec, source: Path, folder: Path) -> CalibrationData | None:
    """The data in `folder`, once it was found to fit the SavedModel in `source`; None where the spec has none.

    Raises:
        CalibrationDataUnfit: it does not fit.
    """
    if spec.conversion.calibration is None:
        return None
    data = CalibrationData(
        folder=str(folder),
        samples=spec.conversion.calibration.samples,
        batch_size=spec.conversion.calibration.batchSize,
    )
    request = CalibrationRequest(
        uri=spec.source.uri,
        source=str(source),
        signature=spec.source.signature,
        input_shapes=spec.conversion.inputShapes,
        data=data,
    )
    child.run("tftrt_runtime.convert.calibration", request, CalibrationAnswer, "convert", NO_GPU)
    return data
