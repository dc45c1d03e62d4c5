"""What was fetched, made into what the conversion takes; in child processes that see no GPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.contract.spec import JobSpec, Value
from tftrt_runtime.convert.messages import CalibrationAnswer, CalibrationData, CalibrationRequest
from tftrt_runtime.loading.messages import (
    BindAnswer,
    BindRequest,
    FreezeAnswer,
    FreezeRequest,
    ImportAnswer,
    ImportRequest,
    SessionRequest,
)
from tftrt_runtime.model import saved_model_file, shapes
from tftrt_runtime.processes import child
from tftrt_runtime.report.data import Findings

NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1"}


@dataclass(frozen=True)
class Imported:
    """The SavedModel's folder, and what the model calls the tensors that have other names in it, by those."""

    folder: Path
    names: Mapping[str, str]

    def tell(self, findings: Findings) -> Findings:
        """The same, with the model's own names beside those that are served."""
        conversion = findings.conversion

        def named(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
            return tuple(tensor.model_copy(update={"source": self.names.get(tensor.name)}) for tensor in tensors)

        told = {"inputs": named(conversion.inputs), "outputs": named(conversion.outputs)}
        return findings.model_copy(update={"conversion": conversion.model_copy(update=told)})


def saved_model(spec: JobSpec, source: Path, target: Path) -> Imported:
    """A SavedModel that TensorFlow 2 can freeze: the source itself, or `target`, where one had to be made of it.

    In it inputs with `source.values` are constants, and those of `conversion.inputs` of the types in which they are
    served.

    Raises:
        NotAModel, SignatureNotFound: it is no model, or has not the signature or the tensors that the spec names.
    """
    is_frozen = spec.source.format == "FrozenGraph"
    found = _imported(spec, source, target) if is_frozen else _loadable(spec, source, target)
    values = {} if is_frozen else spec.source.values  # of a frozen graph they are constants already
    if not values and not spec.conversion.inputs:
        return found
    return _bound(spec, found, values, target.with_name(f"{target.name}-bound"))


def _imported(spec: JobSpec, source: Path, target: Path) -> Imported:
    """The SavedModel of a frozen graph, in `target`."""
    request = ImportRequest(
        uri=spec.source.uri,
        source=str(source),
        inputs=spec.source.inputs,
        outputs=spec.source.outputs,
        values=spec.source.values,
        signature=spec.source.signature,
        target=str(target),
    )
    answer = child.run("tftrt_runtime.loading.frozen_graph", request, ImportAnswer, "convert", NO_GPU)
    return Imported(target, answer.names)


def _loadable(spec: JobSpec, source: Path, target: Path) -> Imported:
    """The SavedModel itself where TensorFlow 2 takes it as it is, else one in `target` by a session of TensorFlow 1."""
    graphs = saved_model_file.meta_graphs(source)
    text = graphs is None and not (source / saved_model_file.BINARY).exists()
    if not text and saved_model_file.loads_as_it_is(graphs or (), spec.source.signature):
        return Imported(source, {})
    asked = SessionRequest(
        uri=spec.source.uri,
        source=str(source),
        signature=spec.source.signature,
        target=str(target),
        on_gpu=spec.runtime.accelerator == "GPU",
    )
    answer = child.run("tftrt_runtime.loading.session", asked, ImportAnswer, "convert", NO_GPU)
    return Imported(target, answer.names)


def _bound(spec: JobSpec, loadable: Imported, values: Mapping[str, Value], target: Path) -> Imported:
    """The SavedModel in `target` in which inputs with `values`, under the model's own names, are constants.

    Those of `conversion.inputs` have the types in which they are served.

    Raises:
        NotAModel, SignatureNotFound: it has no such inputs, or they take other values, or another type than FP32.
    """
    served = {own: name for name, own in loadable.names.items()}
    request = BindRequest(
        uri=spec.source.uri,
        source=str(loadable.folder),
        signature=spec.source.signature,
        values={served.get(name, name): value for name, value in values.items()},
        # What lies in front of the model has to know the rank, as `ranked` gives it to the model's own input.
        shapes={
            name: shapes.behind_a_batch(shape)
            for name, shape in spec.conversion.inputShapes.items()
            if name in spec.conversion.inputs
        },
        served=spec.conversion.inputs,
        target=str(target),
    )
    child.run("tftrt_runtime.loading.bound", request, BindAnswer, "convert", NO_GPU)
    return Imported(target, loadable.names)


def ranked(spec: JobSpec, source: Path, target: Path, unranked: Sequence[Tensor]) -> Path:
    """The folder `target`, with the SavedModel in which these inputs, of any rank in `source`, have their shapes."""
    request = BindRequest(
        uri=spec.source.uri,
        source=str(source),
        signature=spec.source.signature,
        values={},
        served={},
        shapes={tensor.name: tuple(None if size < 0 else size for size in tensor.shape) for tensor in unranked},
        target=str(target),
    )
    child.run("tftrt_runtime.loading.bound", request, BindAnswer, "convert", NO_GPU)
    return target


def frozen(spec: JobSpec, source: Path, target: Path) -> Path:
    """The folder `target`, with the SavedModel in which variables are constants and tables lie beside the graph."""
    request = FreezeRequest(
        uri=spec.source.uri, source=str(source), signature=spec.source.signature, target=str(target)
    )
    child.run("tftrt_runtime.loading.constants", request, FreezeAnswer, "convert", NO_GPU)
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
