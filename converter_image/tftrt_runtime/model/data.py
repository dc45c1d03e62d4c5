"""The user's own samples, for calibration and verification: batches from a folder of `.npz`, `.npy` and TFRecord files.

- `.npz`: an array [samples, ...] for each input, by the input's name. Numpy cuts the NULs that texts end in; an array
  `NAME_byte_lengths` beside the texts for the input NAME brings them back.
- `.npy`: an array [samples, ...], for models with a single input.
- TFRecord, plain or compressed by gzip or zlib: a `tf.train.Example` for each sample, a feature for each input by its
  name. A float or int64 list holds the sample's values in row-major order; a bytes list holds the texts of a BYTES
  input, else one string: what `tf.io.serialize_tensor` gives, or the values' raw little-endian bytes. A dimension that
  the signature leaves open follows from the number of values.

A file is what its name or, where that says nothing, its content says (`data_files`). What has another name, such as
labels, is left aside, and so are files of other kinds. A model with a single input also takes the only array of an
`.npz` and the only feature of an example, whatever its name.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.contract.errors import CalibrationDataUnfit
from tftrt_runtime.model import data_files, text_lengths
from tftrt_runtime.model.data_files import Kind
from tftrt_runtime.model.dtypes import numpy_type
from tftrt_runtime.model.examples import examples
from tftrt_runtime.model.fitting import UNNAMED, chosen_for, expect_finite, fits, shape_told, some
from tftrt_runtime.model.samples import Batch


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

    The files are as for `batches`: there is a dimension in front that counts the samples. Where a call is of one item,
    it may count the items, as it does for a model that takes batches.

    Raises:
        CalibrationDataUnfit: as `batches`.
    """
    counted = [tensor.model_copy(update={"shape": (-1, *tensor.shape)}) for tensor in inputs]
    samples = (
        {name: array[index : index + 1].reshape(array.shape[1:]) for name, array in piece.items()}
        for _, piece in _pieces(folder, counted, what, of_calls=True)
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


def _pieces(folder: Path, inputs: Sequence[Tensor], what: str, of_calls: bool = False) -> Iterator[tuple[str, Batch]]:
    """Any number of samples at a time, as they lie in the files, with the place they came from for messages."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    empty = True
    for file in files:
        where = f"{file.relative_to(folder)} in the {what} data"
        kind = data_files.kind(file)
        if kind is Kind.NUMPY:
            yield where, _arrays(file, where, inputs, of_calls)
        elif kind is not Kind.OTHER:
            yield from examples(file, kind, where, inputs)
        else:
            continue
        empty = False
    if empty:
        raise CalibrationDataUnfit(
            f"The {what} data has no file of samples, which are .npz, .npy or TFRecord files: it holds "
            f"{some(str(file.relative_to(folder)) for file in files) or 'nothing'}. Give at least one, unpacked."
        )


def _samples(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def _arrays(file: Path, where: str, inputs: Sequence[Tensor], of_calls: bool) -> Batch:
    """The samples of a numpy file."""
    lengths: dict[str, NDArray[Any]] = {}
    with _told_of_numpy(where):
        # Not into memory at once, and never as a pickle, which would run whatever it says.
        loaded = np.load(file, mmap_mode="r", allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        chosen = chosen_for({UNNAMED: loaded}, inputs, where)
    else:
        with loaded:
            there = data_files.arrays_of(loaded)
            columns = text_lengths.columns(there, inputs)
            found = {name: name for name in there if name not in columns.values()}
            # The others are left aside unread: they may be such as are not read at all.
            chosen = {name: _member(loaded, member, where) for name, member in chosen_for(found, inputs, where).items()}
            lengths = {name: _member(loaded, column, where) for name, column in columns.items()}
    if of_calls:
        chosen = {tensor.name: _of_calls(chosen[tensor.name], tensor) for tensor in inputs}
        lengths = {tensor.name: _of_calls(lengths[tensor.name], tensor) for tensor in inputs if tensor.name in lengths}
    batch = {tensor.name: _array(chosen[tensor.name], tensor, where, lengths.get(tensor.name)) for tensor in inputs}
    if len({len(array) for array in batch.values()}) > 1:
        counts = ", ".join(f"{name!r} has {len(array)}" for name, array in batch.items())
        raise CalibrationDataUnfit(f"{where}: the inputs have different numbers of samples: {counts}.")
    return batch


def _member(loaded: Any, name: str, where: str) -> NDArray[Any]:
    with _told_of_numpy(f"The array {name!r} of {where}"):
        found = loaded[f"{name}.npy"]
    if not isinstance(found, np.ndarray):
        raise CalibrationDataUnfit(f"The array {name!r} of {where} is none: write the file with numpy.savez.")
    return found


# Of an array of Python objects, which is a pickle.
_OF_TEXTS = (
    "; save texts as arrays of fixed-width strings, and where they may end in NUL as TFRecord files or beside an array "
    f"of their lengths, NAME{text_lengths.BEHIND}"
)


@contextmanager
def _told_of_numpy(where: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        hint = _OF_TEXTS if "object" in str(error).lower() else ""
        raise CalibrationDataUnfit(f"{where} cannot be read as numpy arrays{hint}: {error}") from error


def _of_calls(found: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """The same with a dimension for the one item of each call, where there is none."""
    wanted = tensor.shape[1:]
    return found[:, np.newaxis] if wanted[:1] == (1,) and found.ndim == len(wanted) else found


def _array(found: NDArray[Any], tensor: Tensor, where: str, lengths: NDArray[Any] | None = None) -> NDArray[Any]:
    """An array of samples as the input takes it, which may have lain in the file in another machine's order.

    Texts have these `lengths` in bytes, where they are known.
    """
    kind = numpy_type(tensor.dtype)
    texts = kind == np.object_
    if not (found.dtype.kind in "SU" if texts else found.dtype.newbyteorder("=") == kind):
        raise CalibrationDataUnfit(
            f"{where}: samples for the input {tensor.name!r} are {found.dtype}, and it takes "
            f"{'strings' if texts else kind}: save them as such, as clients send them{_on_served_types(found, kind)}."
        )
    wanted = tensor.shape[1:]
    if found.ndim != 1 + len(wanted):
        raise CalibrationDataUnfit(
            f"{where}: the array for the input {tensor.name!r} has shape {list(found.shape)}, and a sample has "
            f"{shape_told(wanted)}: give it a first dimension that counts the samples."
        )
    if not fits(found.shape[1:], wanted):
        raise CalibrationDataUnfit(
            f"{where}: samples for the input {tensor.name!r} have shape {list(found.shape[1:])}, and it takes "
            f"{shape_told(wanted)}."
        )
    if texts:
        encoded = np.char.encode(found, "utf-8") if found.dtype.kind == "U" else found
        if lengths is None:
            return encoded.astype(np.object_)
        return text_lengths.restored(encoded, lengths, found.dtype.itemsize, tensor, where)
    return expect_finite(np.asarray(found, kind), tensor, where)


def _on_served_types(found: NDArray[Any], kind: np.dtype[Any]) -> str:
    """What to know of numbers as the model itself takes them, where they may be served in another type."""
    if found.dtype != np.float32 or kind not in (np.uint8, np.float16):
        return ""
    return ", which is before the scale and offset of spec.conversion.inputs where that has the input"


def on_texts(folder: Path, batch: Batch) -> str:
    """What may be wrong with texts that a model does not take, to follow what it says of them; nothing, if nothing."""
    texts = any(array.dtype == np.object_ for array in batch.values())
    if not texts or not any(data_files.kind(file) is Kind.NUMPY for file in folder.rglob("*") if file.is_file()):
        return ""
    return (
        ". Texts in numpy arrays are of fixed width and cannot end in NUL, as serialized messages and other binary "
        "texts may: give those as TFRecord files, or in an .npz with an array of their lengths in bytes beside them, "
        f"NAME{text_lengths.BEHIND}"
    )
