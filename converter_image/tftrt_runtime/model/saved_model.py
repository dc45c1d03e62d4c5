"""A SavedModel and its signatures. Imports TensorFlow: for child processes and the server only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.contract.errors import SignatureNotFound
from tftrt_runtime.contract.spec import ShapeRange
from tftrt_runtime.model import operations, shapes
from tftrt_runtime.model.dtypes import TRITON_NAMES
from tftrt_runtime.processes.child import lacks_gpu_memory

# What says something of the machine, not of the model: the device's memory, its libraries, its driver.
MACHINE_FAULTS = (
    MemoryError,
    tf.errors.ResourceExhaustedError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
)


def load(folder: Path, uri: str) -> Any:
    """The loaded SavedModel.

    Raises:
        NotAModel: TensorFlow cannot load it; its last error line is told.
    """
    try:
        return tf.saved_model.load(str(folder))
    except MACHINE_FAULTS:
        raise
    except Exception as error:  # TensorFlow raises nearly every kind here
        if lacks_gpu_memory(error):
            raise
        raise operations.not_loaded(uri, "SavedModel", error) from error


def signature(loaded: Any, name: str, uri: str) -> Any:
    """The function of this signature.

    Raises:
        SignatureNotFound: there is none; those that there are are listed.
    """
    if name not in loaded.signatures:
        raise SignatureNotFound(no_signature(name, loaded.signatures, uri))
    return loaded.signatures[name]


def no_signature(name: str, there: Iterable[str], uri: str) -> str:
    """The sentence that tells which signatures there are, instead of this one."""
    names = sorted(there)
    told = f"it has {', '.join(names)}" if names else "it has none at all"
    return f"{uri} has no signature {name!r}: {told}. Set spec.source.signature."


def inputs(function: Any, uri: str, given: Mapping[str, ShapeRange]) -> tuple[Tensor, ...]:
    """The signature's inputs by name.

    Of an input whose rank TensorFlow does not know, `given` has the sizes of a sample, in front of which is a batch.

    Raises:
        SignatureNotFound: one cannot be served, or it is not known how many dimensions it has.
    """
    specs = function.structured_input_signature[1]
    if not specs:
        raise SignatureNotFound(f"The signature of {uri} takes no input, so there is nothing to serve.")
    tensors = tuple(_tensor("input", name, _ranked(name, specs[name], uri, given), uri) for name in sorted(specs))
    for tensor in tensors:
        if not tensor.name.isidentifier():
            raise SignatureNotFound(
                f"Input {tensor.name!r} of {uri} has a name that TensorFlow {tf.__version__} cannot save again: export "
                "the model with names of letters, digits and underscores, or freeze it and use format FrozenGraph."
            )
    return tensors


def outputs(function: Any, uri: str) -> tuple[Tensor, ...]:
    """The signature's outputs by name; the shape is () also where TensorFlow does not know the rank: see `unranked`.

    Raises:
        SignatureNotFound: one cannot be served.
    """
    specs = function.structured_outputs
    return tuple(_tensor("output", name, specs[name], uri) for name in sorted(specs))


def unranked(specs: Mapping[str, Any]) -> set[str]:
    """The tensors of which TensorFlow does not know how many dimensions they have."""
    return {name for name, spec in specs.items() if spec.shape.rank is None}


def _ranked(name: str, spec: Any, uri: str, given: Mapping[str, ShapeRange]) -> Any:
    """The spec with as many dimensions as a sample was given, and the batch's.

    Raises:
        SignatureNotFound: it has no rank of its own, and none was given.
    """
    if not isinstance(spec, tf.TensorSpec) or spec.shape.rank is not None:
        return spec
    if name not in given:
        raise SignatureNotFound(
            f"Input {name!r} of {uri} may have any number of dimensions: say in spec.conversion.inputShapes which, all "
            "but the batch's, or bind it in spec.source.values where it has one value for all requests."
        )
    return tf.TensorSpec(shapes.behind_a_batch(given[name]), spec.dtype, spec.name)


def _tensor(what: str, name: str, spec: Any, uri: str) -> Tensor:
    """The tensor; its shape is () where TensorFlow does not know the rank."""
    if not isinstance(spec, (tf.TensorSpec, tf.Tensor)):
        raise SignatureNotFound(
            f"The {what} {name!r} of {uri} is a {type(spec).__name__}; only dense tensors can be served."
        )
    dtype = TRITON_NAMES.get(spec.dtype.name)
    if dtype is None:
        raise SignatureNotFound(f"The {what} {name!r} of {uri} is of type {spec.dtype.name}, which cannot be served.")
    shape = () if spec.shape.rank is None else tuple(-1 if size is None else size for size in spec.shape)
    return Tensor(name=name, dtype=dtype, shape=shape)
