"""What an input is bound to, as an array of its type and shape. Imports no TensorFlow of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tftrt_runtime.contract.errors import SignatureNotFound
from tftrt_runtime.contract.spec import Value
from tftrt_runtime.model.shapes import near


def expect_known(values: Mapping[str, Value], names: Sequence[str], uri: str) -> None:
    """Hold that each value is for an input, and that one is left to ask the model with.

    Raises:
        SignatureNotFound: it is not, or there is none.
    """
    for name in values:
        if name not in names:
            raise SignatureNotFound(
                f"spec.source.values has {name!r}, which is no input of {uri}: {near(name, list(names))}."
            )
    if set(names) <= set(values):
        raise SignatureNotFound(
            f"spec.source.values binds all inputs of {uri}, so that there is nothing to ask it: leave one out."
        )


def array(name: str, value: Value, spec: Any, uri: str) -> NDArray[Any]:
    """The value as often as an input of this TensorSpec has elements; one of any rank is a scalar.

    Raises:
        SignatureNotFound: it is none of the input's type, or the input has no fixed sizes.
    """
    shape = () if spec.shape.rank is None else tuple(spec.shape)
    if None in shape:
        raise SignatureNotFound(
            f"spec.source.values binds the input {name!r} of {uri}, whose shape is {spec.shape}: only one of fixed "
            "sizes, such as a scalar, can have one value for all requests."
        )
    if not _is_of(value, spec.dtype):
        raise SignatureNotFound(
            f"spec.source.values binds the input {name!r} of {uri} to {value!r}, and it takes {spec.dtype.name}: give "
            f"{_kind(spec.dtype)}."
        )
    # TensorFlow makes the type itself of texts, and of types that numpy does not have.
    return np.full(shape, value, np.object_ if isinstance(value, str) else None)


def _is_of(value: Value, dtype: Any) -> bool:
    if isinstance(value, bool) or dtype.is_bool:
        return isinstance(value, bool) and bool(dtype.is_bool)
    if isinstance(value, str):
        return bool(dtype.name == "string")
    if dtype.is_integer:
        return isinstance(value, int) and bool(dtype.min <= value <= dtype.max)
    return bool(dtype.is_floating)


def _kind(dtype: Any) -> str:
    if dtype.is_bool:
        return "true or false"
    if dtype.name == "string":
        return "a text"
    if dtype.is_integer:
        return f"a whole number from {dtype.min} to {dtype.max}"
    return "a number" if dtype.is_floating else "no value: what it takes is none that a spec can have"
