"""The user's own samples, for calibration and verification: batches from a folder of `.npz`, `.npy` and TFRecord files.

- `.npz`: an array [samples, ...] for each input, by the input's name.
- `.npy`: an array [samples, ...], for models with a single input.
- TFRecord (a name that ends in `.tfrecord` or `.tfrecords`, or a shard's such as `x.tfrecord-00000-of-00010`): a
  `tf.train.Example` for each sample, a feature for each input by its name. A float or int64 list holds the sample's
  values in row-major order; a bytes list holds the texts of a BYTES input, else one string of the values' raw
  little-endian bytes. A dimension that the signature leaves open follows from the number of values.

What has another name, such as labels, is left aside, and so are files of other kinds. A model with a single input also
takes the only array of an `.npz` and the only feature of an example, whatever its name.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.contract.errors import CalibrationDataUnfit
from tftrt_runtime.model.dtypes import numpy_type
from tftrt_runtime.model.samples import Batch

TFRECORD = re.compile(r".+\.tfrecords?(-\d+-of-\d+)?")
TOLD_NAMES = 10


def batches(
    folder: Path, inputs: Sequence[Tensor], batch_size: int, limit: int | None = None, what: str = "calibration"
) -> Iterator[Batch]:
    """Batches by input name, each array of shape [batch_size, ...], from the files in the order of their paths.

    All have one shape. An incomplete last batch is left out; of more than `limit` samples (None: all) the first are
    read. `what` names the data in messages. Reading TFRecords imports TensorFlow, but touches no device.

    Raises:
        CalibrationDataUnfit: a name, type, shape or value does not fit the inputs, a file cannot be read, or there is
            not a single whole batch.
    """
    most = None if limit is None else limit // batch_size
    made = 0
    for batch in islice(_of_size(batch_size, _of_one_shape(_pieces(folder, inputs, what))), most):
        made += 1
        yield batch
    if not made:
        raise CalibrationDataUnfit(
            f"The {what} data has fewer samples than one batch of {batch_size}: give more samples or set a smaller "
            "batch size."
        )


def calls(
    folder: Path, inputs: Sequence[Tensor], limit: int | None = None, what: str = "calibration"
) -> Iterator[Batch]:
    """The samples one by one, each of the whole shape of its input, for a model that takes no batches.

    The files are as for `batches`: there is a dimension in front that counts the samples.

    Raises:
        CalibrationDataUnfit: as `batches`.
    """
    counted = [tensor.model_copy(update={"shape": (-1, *tensor.shape)}) for tensor in inputs]
    samples = (
        {name: array[index : index + 1].reshape(array.shape[1:]) for name, array in piece.items()}
        for _, piece in _pieces(folder, counted, what)
        for index in range(_samples(piece))
    )
    made = 0
    for sample in islice(samples, limit):
        made += 1
        yield sample
    if not made:
        raise CalibrationDataUnfit(f"The {what} data has no sample: give at least one.")


def _of_size(batch_size: int, pieces: Iterable[tuple[str, Batch]]) -> Iterator[Batch]:
    """The samples in batches of this size; what is left in the end is dropped."""
    waiting: list[Batch] = []
    missing = batch_size
    for _, piece in pieces:
        rest = piece
        while _samples(rest) >= missing:
            waiting.append({name: array[:missing] for name, array in rest.items()})
            rest = {name: array[missing:] for name, array in rest.items()}
            yield {name: np.concatenate([part[name] for part in waiting]) for name in rest}
            waiting, missing = [], batch_size
        if _samples(rest):
            waiting.append(rest)
            missing -= _samples(rest)


def _of_one_shape(pieces: Iterable[tuple[str, Batch]]) -> Iterator[tuple[str, Batch]]:
    """The same, once each sample was found to have the shape of the first."""
    first: dict[str, tuple[int, ...]] = {}
    for where, piece in pieces:
        for name, array in piece.items():
            expected = first.setdefault(name, array.shape[1:])
            if array.shape[1:] != expected:
                raise CalibrationDataUnfit(
                    f"{where}: samples for the input {name!r} have shape {list(array.shape[1:])}, and earlier ones "
                    f"{list(expected)}: give all samples one shape."
                )
        yield where, piece


def _pieces(folder: Path, inputs: Sequence[Tensor], what: str) -> Iterator[tuple[str, Batch]]:
    """Any number of samples at a time, as they lie in the files, with the place they came from for messages."""
    empty = True
    for file in sorted(folder.rglob("*")):
        where = f"{file.relative_to(folder)} in the {what} data"
        if file.suffix in {".npz", ".npy"} and file.is_file():
            yield where, _arrays(file, where, inputs)
        elif TFRECORD.fullmatch(file.name) and file.is_file():
            yield from _examples(file, where, inputs)
        else:
            continue
        empty = False
    if empty:
        raise CalibrationDataUnfit(
            f"The {what} data has no file whose name ends in .npz, .npy or .tfrecord: give at least one."
        )


def _samples(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def _arrays(file: Path, where: str, inputs: Sequence[Tensor]) -> Batch:
    """The samples of a numpy file."""
    try:
        # Not into memory at once, and never as a pickle, which would run whatever it says.
        loaded = np.load(file, mmap_mode="r", allow_pickle=False)
        # The array of an .npy has no name.
        found = {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        hint = "; save texts as arrays of fixed-width strings" if "object" in str(error).lower() else ""
        raise CalibrationDataUnfit(f"{where} cannot be read as numpy arrays{hint}: {error}") from error
    chosen = _chosen(found, inputs, where)
    batch = {tensor.name: _array(chosen[tensor.name], tensor, where) for tensor in inputs}
    if len({len(array) for array in batch.values()}) > 1:
        counts = ", ".join(f"{name!r} has {len(array)}" for name, array in batch.items())
        raise CalibrationDataUnfit(f"{where}: the inputs have different numbers of samples: {counts}.")
    return batch


def _array(found: NDArray[Any], tensor: Tensor, where: str) -> NDArray[Any]:
    """An array of samples as the input takes it."""
    kind = numpy_type(tensor.dtype)
    texts = kind == np.object_
    if not (found.dtype.kind in "SU" if texts else found.dtype == kind):
        raise CalibrationDataUnfit(
            f"{where}: samples for the input {tensor.name!r} are {found.dtype}, and it takes "
            f"{'strings' if texts else kind}: save them as such, prepared as for the model."
        )
    wanted = tensor.shape[1:]
    if found.ndim != 1 + len(wanted):
        raise CalibrationDataUnfit(
            f"{where}: the array for the input {tensor.name!r} has shape {list(found.shape)}, and a sample has "
            f"{_told(wanted)}: give it a first dimension that counts the samples."
        )
    if not _fits(found.shape[1:], wanted):
        raise CalibrationDataUnfit(
            f"{where}: samples for the input {tensor.name!r} have shape {list(found.shape[1:])}, and it takes "
            f"{_told(wanted)}."
        )
    if texts:
        encoded = np.char.encode(found, "utf-8") if found.dtype.kind == "U" else found
        return encoded.astype(np.object_)
    return _finite(np.asarray(found), tensor, where)


def _examples(file: Path, where: str, inputs: Sequence[Tensor]) -> Iterator[tuple[str, Batch]]:
    """The samples of a TFRecord file, one at a time."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        # Unlike a Dataset this runs no operation, and so starts no device.
        for index, record in enumerate(tf.compat.v1.io.tf_record_iterator(str(file))):
            here = f"Example {index} of {where}"
            chosen = _chosen(tf.train.Example.FromString(record).features.feature, inputs, here)
            yield here, {tensor.name: _feature(chosen[tensor.name], tensor, here)[np.newaxis] for tensor in inputs}
    except (tf.errors.OpError, DecodeError) as error:
        raise CalibrationDataUnfit(f"{where} cannot be read as a TFRecord file of tf.train.Example: {error}") from error


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
        if len(values) != 1 or len(values[0]) % kind.itemsize:
            raise CalibrationDataUnfit(
                f"{where}: the bytes for the input {tensor.name!r} are not one string of {kind} values as they lie in "
                "memory: decode pictures before you write them."
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
    return _finite(_shaped(made, tensor, where), tensor, where)


def _shaped(flat: NDArray[Any], tensor: Tensor, where: str) -> NDArray[Any]:
    wanted = tensor.shape[1:]
    known = prod(length for length in wanted if length >= 0)
    if wanted.count(-1) > 1:
        raise CalibrationDataUnfit(
            f"{where}: the input {tensor.name!r} takes {_told(wanted)}, whose open dimensions a list of values does "
            "not tell: give the samples as .npz."
        )
    if flat.size != known if -1 not in wanted else flat.size % known:
        raise CalibrationDataUnfit(
            f"{where}: the sample for the input {tensor.name!r} has {flat.size} values, and it takes {_told(wanted)}."
        )
    return flat.reshape(wanted)


def _chosen(found: Mapping[str, Any], inputs: Sequence[Tensor], where: str) -> dict[str, Any]:
    """What was found for each input, by the input's name."""
    if len(inputs) == len(found) == 1:
        return {inputs[0].name: next(iter(found.values()))}
    missing = [tensor.name for tensor in inputs if tensor.name not in found]
    if missing:
        told = ", ".join(map(repr, sorted(found)[:TOLD_NAMES])) if set(found) - {""} else "a single unnamed array"
        raise CalibrationDataUnfit(
            f"{where} has nothing for the input {missing[0]!r}: it has {told or 'nothing'}. Name each array or feature "
            "as the model's input is."
        )
    return {tensor.name: found[tensor.name] for tensor in inputs}


def _fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    return all(open_or_length in {-1, length} for length, open_or_length in zip(shape, wanted))


def _finite(array: NDArray[Any], tensor: Tensor, where: str) -> NDArray[Any]:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise CalibrationDataUnfit(f"{where}: a sample for the input {tensor.name!r} has a value that is not finite.")
    return array


def _unlike(form: str | None, tensor: Tensor, where: str) -> CalibrationDataUnfit:
    has = f"a {form.replace('_', ' ')}" if form else "an empty feature"
    return CalibrationDataUnfit(f"{where} has {has} for the input {tensor.name!r}, which takes {tensor.dtype}.")


def _told(shape: Sequence[int]) -> str:
    return f"[{', '.join('any' if length < 0 else str(length) for length in shape)}]"
