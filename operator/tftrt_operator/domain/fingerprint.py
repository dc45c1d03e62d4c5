"""Which inputs make an engine, and the name that they have together.

The fingerprint names a conversion in the store, in records and in Jobs, so it can never change for the same inputs:
a golden test holds it. An input added later gets a default here, and is left out of the canonical form while it has it.
"""

import hashlib
import json
from dataclasses import dataclass, fields, replace

from ..api.conversion import Calibration
from ..api.gpu import GPU
from ..api.quantity import quantity_bytes
from ..api.trtmodel import TRTModelSpec
from .runtime import Accelerator, Runtime
from .told_uri import told_uri, unsigned

CANONICAL_FORM_VERSION = 1
FINGERPRINT_DIGITS = 32  # a label value ends at 63 characters, so a whole SHA-256 in hex is none


InputShape = tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""An input's name, and the least, the usual and the most of each of its dimensions but the batch's."""

ServedAs = tuple[str, str, tuple[str, ...], tuple[str, ...]]
"""An input's name, the type that requests have it in, and what makes the model's own values of them: scale, offset."""


@dataclass(frozen=True, slots=True)
class EngineInputs:
    """Everything that changes the engines when it changes, and nothing else. Sizes are in bytes."""

    source_uri: str
    tensorflow: str
    tensorrt: str
    source_revision: str = ""
    signature: str = "serving_default"
    precision: str = "FP32"
    max_workspace_size: int = 2**30
    batch_sizes: tuple[int, ...] = (1,)
    gpu_product: str = ""
    gpu_resource_name: str = "nvidia.com/gpu"
    minimum_segment_size: int = 3
    source_digest: str = ""
    source_format: str = "SavedModel"
    graph_inputs: tuple[str, ...] = ()
    graph_outputs: tuple[str, ...] = ()
    dynamic_shapes: str = ""
    input_shapes: tuple[InputShape, ...] = ()
    calibration: tuple[str, int, int] | None = None  # URI, samples, batch size
    source_values: tuple[tuple[str, str], ...] = ()  # an input's name, and its value as JSON
    served_inputs: tuple[ServedAs, ...] = ()


def engine_inputs(spec: TRTModelSpec, runtime: Runtime) -> EngineInputs:
    """Return what a spec's engines are made of on a runtime. Which GPU it names counts only where there is one."""
    gpu = spec.gpu if runtime.accelerator is Accelerator.GPU else GPU()
    graph_inputs, graph_outputs = spec.source.tensors()
    return EngineInputs(
        source_uri=unsigned(normalized_uri(spec.source.uri)),
        tensorflow=runtime.tensorflow,
        tensorrt=runtime.tensorrt,
        source_revision=spec.source.revision,
        signature=spec.source.signature,
        precision=spec.conversion.precision.value,
        max_workspace_size=quantity_bytes(spec.conversion.max_workspace_size),
        batch_sizes=spec.conversion.built_batch_sizes(),
        gpu_product=gpu.product,
        gpu_resource_name=gpu.resource_name,
        minimum_segment_size=spec.conversion.minimum_segment_size,
        source_digest=spec.source.digest,
        source_format=spec.source.format.value,
        graph_inputs=graph_inputs,
        graph_outputs=graph_outputs,
        dynamic_shapes=spec.conversion.dynamic_shapes.value if spec.conversion.dynamic_shapes else "",
        input_shapes=tuple(
            (name, shape.min, shape.opt, shape.max) for name, shape in sorted(spec.conversion.input_shapes.items())
        ),
        calibration=_calibration(spec.conversion.calibration),
        source_values=tuple(sorted((name, json.dumps(bound)) for name, bound in spec.source.values.items())),
        served_inputs=tuple(
            (name, served.dtype.value, *served.factors()) for name, served in sorted(spec.conversion.inputs.items())
        ),
    )


def _calibration(calibration: Calibration | None) -> tuple[str, int, int] | None:
    if calibration is None:
        return None
    return unsigned(normalized_uri(calibration.uri)), calibration.samples, calibration.batch_size


def normalized_uri(uri: str) -> str:
    """Return a storage URI without doubled or trailing slashes: two spellings of one folder are one source.

    What a web server makes of slashes is its own affair.
    """
    scheme, _, rest = uri.partition("://")
    if scheme in ("http", "https"):
        return uri
    return f"{scheme}://" + "/".join(part for part in rest.split("/") if part)


def canonical_form(inputs: EngineInputs) -> str:
    """Return the inputs as JSON, versioned, with sorted keys and with the defaults left out."""
    stated = {field.name: getattr(inputs, field.name) for field in fields(inputs)}
    changed = {field.name: stated[field.name] for field in fields(inputs) if stated[field.name] != field.default}
    return json.dumps({"version": CANONICAL_FORM_VERSION, **changed}, sort_keys=True, separators=(",", ":"))


def fingerprint(inputs: EngineInputs) -> str:
    """Return the 32 hex digits that name these inputs."""
    return hashlib.sha256(canonical_form(inputs).encode()).hexdigest()[:FINGERPRINT_DIGITS]


def told(inputs: EngineInputs) -> EngineInputs:
    """Return the inputs as they may be told: what is in a query may make an engine, and be a key as well."""
    calibration = inputs.calibration and (told_uri(inputs.calibration[0]), *inputs.calibration[1:])
    return replace(inputs, source_uri=told_uri(inputs.source_uri), calibration=calibration)
