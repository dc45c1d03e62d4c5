"""What a spec asks for on this operator: the runtime, and the engine with its place."""

from dataclasses import dataclass

from ..api.conversion import Precision
from ..api.trtmodel import TRTModel, TRTModelSpec
from .fingerprint import EngineInputs, engine_inputs, fingerprint, normalized_uri
from .record import EngineKey
from .remembered import remembered
from .runtime import Accelerator, Catalogue, Network, Runtime
from .told_uri import told_uri
from .verdict import Verdict, stalled


@dataclass(frozen=True, slots=True)
class Target:
    """The engine that the spec asks for."""

    runtime: Runtime
    inputs: EngineInputs
    key: EngineKey
    network: Network


def target_of(model: TRTModel, catalogue: Catalogue) -> Target | Verdict:
    """Return what the spec asks for, or why this operator cannot do it."""
    return _target_of(model.spec, catalogue)


@remembered(lambda spec, catalogue: (id(spec), id(catalogue)))
def _target_of(spec: TRTModelSpec, catalogue: Catalogue) -> Target | Verdict:
    runtime = catalogue.runtime(spec.runtime)
    if runtime is None:
        known = ", ".join(runtime.name for runtime in catalogue.runtimes)
        return stalled(
            "RuntimeUnknown",
            f"spec.runtime {spec.runtime!r} is not in the operator's catalogue: use one of {known}",
        )
    store = spec.artifacts.uri or catalogue.store
    if store is None:
        return stalled(
            "NoArtifactStore",
            "spec.artifacts.uri is not set, and the operator's configuration names no store: set one of them",
        )
    if runtime.accelerator is Accelerator.NONE and spec.conversion.precision is not Precision.FP32:
        return stalled(
            "PrecisionNotSupported",
            f"spec.conversion.precision {spec.conversion.precision} needs TensorRT, which runtime {runtime.name!r}"
            " does not have: use FP32, or a runtime with a GPU",
        )
    inputs = engine_inputs(spec, runtime)
    data = spec.verification.data_uri
    told = None if data is None else told_uri(normalized_uri(data))
    key = EngineKey(fingerprint(inputs), normalized_uri(store), told, spec.verification.top1_output)
    return Target(runtime=runtime, inputs=inputs, key=key, network=catalogue.network)


def read_uris(model: TRTModel) -> tuple[str, ...]:
    """Return all that a conversion reads from, beside the store."""
    calibration = model.spec.conversion.calibration
    data = (calibration.uri if calibration else None, model.spec.verification.data_uri)
    return (model.spec.source.uri, *(uri for uri in data if uri is not None))
