"""The batches on which the converted model is compared with the unconverted one: the same for both of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tftrt_runtime.contract.artifact import Sample, Tensor
from tftrt_runtime.contract.errors import CalibrationDataUnfit
from tftrt_runtime.model import data, samples
from tftrt_runtime.model.dtypes import FLOATS
from tftrt_runtime.verification.messages import ComparisonData

WHAT = "verification"
# Of the user's data the largest batches see all; the other batch sizes, whose engines are others, see so much.
FEW_SAMPLES = 128
# Where floats that are made up end. Some networks take shares of 1, others what a byte holds; of neither do we know.
USUAL, LARGER = 1, 255


@dataclass(frozen=True)
class Question:
    """What both models are asked; `up_to` is where its made-up floats end, None where there are none.

    `call` is how many samples a call has where the model takes no batches, None where it does.
    """

    batch: samples.Batch
    up_to: int | None = None
    call: int | None = None

    @property
    def size(self) -> int:
        """How many samples are in the batch."""
        return size(self.batch, self.call)

    @property
    def batched(self) -> bool:
        """Whether its inputs are a batch of samples."""
        return self.call is None

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of its inputs, in their order."""
        return tuple(values.shape for values in self.batch.values())


def questions(
    inputs: Sequence[Tensor],
    batch_sizes: Sequence[int],
    made: Sequence[Sample],
    given: ComparisonData | None,
    batched: bool = True,
) -> Iterator[Question]:
    """Batches of the user's data where it is given, else those of the samples `made` up; none without either.

    The batch sizes ascend, and of each all that is made up is asked at its usual size before it is asked larger. Of a
    model that takes no batches it is one call for each sample.

    Raises:
        CalibrationDataUnfit: the data does not fit the inputs, or is not enough for the smallest batch.
    """
    call = None if batched else batch_sizes[0]
    if given is not None:
        folder = Path(given.folder)
        every = _of_data(inputs, batch_sizes, folder) if batched else data.calls(folder, inputs, None, WHAT)
        yield from (Question(batch, None, call) for batch in every)
        return
    floats = any(tensor.dtype in FLOATS for tensor in inputs)
    for size in batch_sizes:
        for up_to in (USUAL, LARGER) if floats else (USUAL,):
            for sample in made:
                yield Question(samples.batch(inputs, size, sample, up_to), up_to if floats else None, call)


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
