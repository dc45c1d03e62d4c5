"""Tensor types under the names that TensorFlow, Triton and numpy give them."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

# TensorFlow's name -> the name in Triton's protocol. What is not here (bfloat16, complex, quantised, resource, variant)
# has no numpy type or no Triton type, and a signature that uses it cannot be served.
TRITON_NAMES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}

FLOATS = {"FP16", "FP32", "FP64"}

_NUMPY_TYPES: dict[str, DTypeLike] = {
    triton: np.object_ if name == "string" else np.dtype(name) for name, triton in TRITON_NAMES.items()
}


def numpy_type(triton_name: str) -> np.dtype[np.generic]:
    """The numpy type of a Triton type; BYTES are objects, each a `bytes`."""
    return np.dtype(_NUMPY_TYPES[triton_name])


def config_name(triton_name: str) -> str:
    """The type's name in a Triton model configuration."""
    return "TYPE_STRING" if triton_name == "BYTES" else f"TYPE_{triton_name}"
