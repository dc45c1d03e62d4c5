"""Inputs that are served in another type than the model takes. Imports TensorFlow.

In front of the model's own input lies `cast(value) * scale + offset`: a cast to float32, which holds each value of the
served types as it is, a product and a sum, each rounded to float32. TensorFlow computes them at every precision, on the
device that the call runs on: an engine begins behind them, and gets what the model's own input would be. TensorRT takes
no bytes, would round the sum to half precision, and in INT8 would have but 127 steps for 255. Only a spec whose
`minimumSegmentSize` is 1 or 2 has an engine of the product and the sum.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.contract.errors import SignatureNotFound
from tftrt_runtime.contract.spec import ServedInput
from tftrt_runtime.model import composites
from tftrt_runtime.model.dtypes import TRITON_NAMES
from tftrt_runtime.model.shapes import near

TYPES = {"UINT8": tf.uint8, "FP16": tf.float16}


def specs(
    loaded: Any, own: Mapping[str, Any], served: Mapping[str, ServedInput], bound: Collection[str], uri: str
) -> dict[str, Any]:
    """The TensorSpecs of these inputs as they are served, by name; `own` are those of the signature.

    As many numbers as there are channels close a last dimension that the model leaves open.

    Raises:
        SignatureNotFound: one is no input, or none that can be served so; the way out is told.
    """
    for name in served:
        _expect_known(name, own, bound, uri)
        _expect_decodable(name, own[name], served[name], uri)
    _expect_no_parts(loaded, own, served, uri)
    return {name: _spec(name, own[name], served[name], uri) for name in served}


def decoded(value: Any, served: ServedInput) -> Any:
    """What the model takes for the values of a request."""
    scale, offset = factors(served)
    with tf.name_scope("decoded"):
        made = tf.cast(value, tf.float32)
        if (scale != 1).any() or (offset != 0).any():
            # The cast apart: of two operations in a row TF-TRT makes no engine by itself, of three it does.
            made = _not_for_engines(made)
        if (scale != 1).any():
            made = made * tf.constant(scale)
        if (offset != 0).any():
            made = made + tf.constant(offset)
        return _not_for_engines(made)


def factors(served: ServedInput) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale and offset: a number, or one for each channel."""
    scale, offset = (np.array([float(text) for text in texts], np.float32) for texts in (served.scale, served.offset))
    return scale[0] if len(scale) == 1 else scale, offset[0] if len(offset) == 1 else offset


def _not_for_engines(value: Any) -> Any:
    """The value, by an operation that TF-TRT does not take and Grappler leaves where it is: no engine goes across."""
    return tf.raw_ops.PlaceholderWithDefault(input=value, shape=value.shape)


def _expect_known(name: str, own: Mapping[str, Any], bound: Collection[str], uri: str) -> None:
    if name in bound:
        raise SignatureNotFound(
            f"spec.conversion.inputs has {name!r}, which spec.source.values binds, so that no request of {uri} has it: "
            "leave it out of one of them."
        )
    if name not in own:
        raise SignatureNotFound(
            f"spec.conversion.inputs has {name!r}, which is no input of {uri}: {near(name, sorted(own))}."
        )


def _expect_decodable(name: str, spec: Any, served: ServedInput, uri: str) -> None:
    if not isinstance(spec, tf.TensorSpec) or spec.dtype != tf.float32:
        takes = TRITON_NAMES.get(spec.dtype.name, spec.dtype.name)
        raise SignatureNotFound(
            f"spec.conversion.inputs has {name!r} served as {served.dtype}, and the input of {uri} takes {takes}: only "
            f"FP32 can be served in another type. Leave {name!r} out."
        )


def _expect_no_parts(loaded: Any, own: Mapping[str, Any], served: Mapping[str, ServedInput], uri: str) -> None:
    """Hold that no input is a part of a ragged or sparse one, of which others say how its values lie."""
    dense = [
        Tensor(
            name=name,
            dtype=TRITON_NAMES[spec.dtype.name],
            shape=tuple(-1 if size is None else size for size in spec.shape),
        )
        for name, spec in own.items()
        if spec.shape.rank is not None and spec.dtype.name in TRITON_NAMES
    ]
    for composite in composites.found(loaded, dense, 1):
        for name in served:
            if name in composite.names:
                raise SignatureNotFound(
                    f"spec.conversion.inputs has {name!r}, and the {composite} of {uri}: only a dense input can be "
                    f"served in another type. Leave {name!r} out."
                )


def _spec(name: str, own: Any, served: ServedInput, uri: str) -> Any:
    channels = max(len(served.scale), len(served.offset))
    return tf.TensorSpec(
        own.shape if channels == 1 else _with_channels(name, own.shape, channels, uri), TYPES[served.dtype], name
    )


def _with_channels(name: str, shape: Any, channels: int, uri: str) -> Any:
    """The shape with so many channels.

    Raises:
        SignatureNotFound: its last dimension is another one, or none of channels.
    """
    last = None if shape.rank is None or shape.rank == 0 else shape[-1]
    # The only dimension of a vector that may be of any length is a batch's.
    if (last is None and (shape.rank is None or shape.rank < 2)) or last not in {None, channels}:
        raise SignatureNotFound(
            f"spec.conversion.inputs has {channels} numbers for the channels of {name!r}, and the input of {uri} has "
            f"the shape {shape}, whose last dimension is not of {channels}: give one number for all, or one for each "
            "place in the last dimension."
        )
    return [*shape[:-1], channels]
