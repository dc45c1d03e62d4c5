"""The batches on which the converted model is compared with the unconverted one: the same for both of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tftrt_runtime.contract.artifact import Sample, Tensor
from tftrt_runtime.contract.errors import CalibrationDataUnfit
from tftrt_runtime.model import data, samples
from tftrt_runtime.verification.messages import ComparisonData

WHAT = "verification"
# Of the user's data the largest batches see all; the other batch sizes, whose engines are others, see so much.
FEW_SAMPLES = 128


def batches(
    inputs: Sequence[Tensor],
    batch_sizes: Sequence[int],
    made: Sequence[Sample],
    given: ComparisonData | None,
    batched: bool = True,
) -> Iterator[samples.Batch]:
    """Batches of the user's data where it is given, else those of the samples `made` up; none without either.

    The sizes ascend. Of a model that takes no batches it is one call for each sample.

    Raises:
        CalibrationDataUnfit: the data does not fit the inputs, or is not enough for the smallest batch.
    """
    if given is not None and not batched:
        yield from data.calls(Path(given.folder), inputs, None, WHAT)
    elif given is not None:
        yield from _of_data(inputs, batch_sizes, Path(given.folder))
    else:
        yield from made_up(inputs, batch_sizes, made)


def made_up(inputs: Sequence[Tensor], batch_sizes: Sequence[int], made: Sequence[Sample]) -> Iterator[samples.Batch]:
    """One batch of each size for each sample."""
    for size in batch_sizes:
        for sample in made:
            yield samples.batch(inputs, size, sample)


def companions(
    inputs: Sequence[Tensor], batch_sizes: Sequence[int], made: Sample | None, given: ComparisonData | None
) -> Iterator[samples.Batch]:
    """Batches of at least two items, as large as can be: of the user's first samples, else one of made-up ones.

    None at all where there are neither.

    Raises:
        CalibrationDataUnfit: the data does not fit the inputs.
    """
    there = 0 if given is None else _there(inputs, batch_sizes, Path(given.folder))
    if given is not None and there > 1:
        yield from data.batches(Path(given.folder), inputs, there, max(there, FEW_SAMPLES), WHAT)
    elif made is not None:
        yield samples.batch(inputs, max(batch_sizes), made)


def _of_data(inputs: Sequence[Tensor], batch_sizes: Sequence[int], folder: Path) -> Iterator[samples.Batch]:
    there = _there(inputs, batch_sizes, folder)
    sizes = [size for size in batch_sizes if size <= there]
    if not sizes:
        raise CalibrationDataUnfit(
            f"The {WHAT} data has {there} samples, fewer than the smallest batch of {min(batch_sizes)}: give more "
            "samples or add a smaller batch size."
        )
    for size in sizes:
        yield from data.batches(folder, inputs, size, None if size == sizes[-1] else max(size, FEW_SAMPLES), WHAT)


def _there(inputs: Sequence[Tensor], batch_sizes: Sequence[int], folder: Path) -> int:
    """How many samples the data has, counted up to the largest batch."""
    return sum(1 for _ in data.batches(folder, inputs, 1, max(batch_sizes), WHAT))


def size(batch: samples.Batch, call: int | None = None) -> int:
    """How many samples are in a batch: `call` where the model takes no batches and has so many in each call."""
    return len(next(iter(batch.values()))) if call is None else call
