"""Samples in TFRecord files: a `tf.train.Example` for each, as `data` says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.contract.errors import CalibrationDataUnfit
from tftrt_runtime.model import data_files
from tftrt_runtime.model.data_files import Kind
from tftrt_runtime.model.dtypes import numpy_type
from tftrt_runtime.model.fitting import chosen_for, expect_finite, fits, shape_told
from tftrt_runtime.model.samples import Batch


def examples(file: Path, kind: Kind, where: str, inputs: Sequence[Tensor]) -> Iterator[tuple[str, Batch]]:
    """The samples of a TFRecord file, one at a time, with the place that each came from for messages.

    Raises:
        CalibrationDataUnfit: one does not fit, or the file cannot be read.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    options = tf.io.TFRecordOptions(compression_type=kind.value)
    try:
        # Unlike a Dataset this runs no operation, and so starts no device.
        for index, record in enumerate(tf.compat.v1.io.tf_record_iterator(str(file), options)):
            here = f"Example {index} of {where}"
            chosen = chosen_for(tf.train.Example.FromString(record).features.feature, inputs, here)
            yield here, {tensor.name: _feature(chosen[tensor.name], tensor, here)[np.newaxis] for tensor in inputs}
    except (tf.errors.OpError, DecodeError) as error:
        raise CalibrationDataUnfit(f"{where} cannot be read as a TFRecord file of tf.train.Example: {error}") from error
    if not data_files.is_whole(file, kind):
        raise CalibrationDataUnfit(
            f"{where} cannot be read as a TFRecord file to its end: what is compressed in it breaks off."
        )


def _feature(feature: Any, tensor: Tensor, where: str) -> NDArray[Any]:
    """One sample of the input, without the batch's dimension."""
    kind = numpy_type(tensor.dtype)
    form = feature.WhichOneof("kind")
    values: list[Any] = list(getattr(feature, form).value) if form else []
    made: NDArray[Any]
    if kind == np.object_:
        if form != "bytes_list":
            raise _unlike(form, tensor, where)
        made = np.array(values, dtype=np.object_)
    elif form == "bytes_list":
        if len(values) == 1 and not _is_raw(values[0], kind, tensor):
            if (found := _serialized(values[0])) is not None:
                return expect_finite(_of_input(found, tensor, where), tensor, where)
            if picture := data_files.picture(values[0]):
                raise CalibrationDataUnfit(
                    f"{where}: the bytes for the input {tensor.name!r} are a {picture} file, and it takes {kind} "
                    "values: decode pictures before you write them."
                )
        if len(values) != 1 or len(values[0]) % kind.itemsize:
            raise CalibrationDataUnfit(
                f"{where}: the bytes for the input {tensor.name!r} are not one string of {kind} values as they lie in "
                "memory, nor one of `tf.io.serialize_tensor`: decode pictures before you write them."
            )
        made = np.frombuffer(values[0], kind.newbyteorder("<")).astype(kind)
    else:
        # A float list is float32 whatever went in, and an int64 list holds whole numbers of any size.
        if form != ("float_list" if kind.kind == "f" else "int64_list"):
            raise _unlike(form, tensor, where)
        wide = np.array(values, np.float32 if kind.kind == "f" else np.int64)
        made = wide.astype(kind)
        if kind.kind != "f" and not np.array_equal(made.astype(np.int64), wide):
            raise CalibrationDataUnfit(f"{where}: a number for the input {tensor.name!r} is none that {kind} can hold.")
    return expect_finite(_shaped(made, tensor, where), tensor, where)


def _serialized(text: bytes) -> NDArray[Any] | None:
    """The array that `tf.io.serialize_tensor` made the text of; None where it did not."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    try:
        proto = TensorProto.FromString(text)
        kind = np.dtype(tf.dtypes.as_dtype(proto.dtype).as_numpy_dtype)
    except (DecodeError, TypeError):
        return None
    shape = [dimension.size for dimension in proto.tensor_shape.dim]
    # Values as they lie in memory may happen to be some message, but none that holds all of its values, and is written
    # again as it was.
    whole = min(shape, default=0) >= 0 and len(proto.tensor_content) == prod(shape) * kind.itemsize
    if not whole or proto.SerializeToString() != text:
        return None
    return np.frombuffer(proto.tensor_content, kind.newbyteorder("<")).astype(kind).reshape(shape)


def _of_input(found: NDArray[Any], tensor: Tensor, where: str) -> NDArray[Any]:
    kind, wanted = numpy_type(tensor.dtype), tensor.shape[1:]
    if found.dtype != kind or found.ndim != len(wanted) or not fits(found.shape, wanted):
        raise CalibrationDataUnfit(
            f"{where}: the tensor for the input {tensor.name!r} is {found.dtype} {list(found.shape)}, and a sample is "
            f"{kind} {shape_told(wanted)}."
        )
    return found


def _is_raw(text: bytes, kind: np.dtype[Any], tensor: Tensor) -> bool:
    """Whether it has as many bytes as a sample of the input has in memory, where that is known."""
    wanted = tensor.shape[1:]
    return -1 not in wanted and len(text) == prod(wanted) * kind.itemsize


def _shaped(flat: NDArray[Any], tensor: Tensor, where: str) -> NDArray[Any]:
    wanted = tensor.shape[1:]
    known = prod(length for length in wanted if length >= 0)
    if wanted.count(-1) > 1:
        raise CalibrationDataUnfit(
            f"{where}: the input {tensor.name!r} takes {shape_told(wanted)}, whose open dimensions a list of values "
            "does not tell: give the samples as .npz, or by `tf.io.serialize_tensor`."
        )
    if flat.size != known if -1 not in wanted else flat.size % known:
        raise CalibrationDataUnfit(
            f"{where}: the sample for the input {tensor.name!r} has {flat.size} values, and it takes "
            f"{shape_told(wanted)}."
        )
    return flat.reshape(wanted)


def _unlike(form: str | None, tensor: Tensor, where: str) -> CalibrationDataUnfit:
    has = f"a {form.replace('_', ' ')}" if form else "an empty feature"
    return CalibrationDataUnfit(f"{where} has {has} for the input {tensor.name!r}, which takes {tensor.dtype}.")
