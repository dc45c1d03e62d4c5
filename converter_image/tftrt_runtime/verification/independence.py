"""Whether requests may be put together: is an item's answer the same whatever else is in its batch?

Of a model that subtracts the mean of its batch, or compares all items with each other, clients whose requests are put
together get a part of each other's data. What is asked is the unconverted model; why so is in decision 32.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tftrt_runtime import log
from tftrt_runtime.contract.artifact import Batching
from tftrt_runtime.model import samples
from tftrt_runtime.verification.agreement import Deviation, deviation, unlike

# Relative to the largest value of the output. Each batch size has kernels of its own, and in FP32 the last bits of an
# item's answer differ from one to another; texts, truths and whole numbers must be equal.
TOLERANCE = 1e-4
# Each costs a call: of a larger batch not every item is asked alone, but the first, the last and some between them.
MOST_ALONE = 128
# As far as this from each other in half precision, in units of the type's rounding.
ROUNDINGS = 16
# The share of an item's whole numbers and truths that rounding may decide otherwise: pixels, the classes of pixels.
FEW = 1e-3
# Of what the operator and the report show: characters of an output's name, and bytes of JSON.
MOST_NAME, MOST_MESSAGE = 80, 400

Ask = Callable[[samples.Batch], samples.Batch]


class NotTakenError(Exception):
    """The model does not take so many items, or these."""


@dataclass(frozen=True)
class _Difference:
    """What one of the batch's items was answered otherwise than in the batch."""

    item: int
    output: str
    relative: float  # infinite for another shape, type or text
    few: bool  # whether it is so few of many whole numbers that rounding explains them

    def __str__(self) -> str:
        how = f" by {self.relative:.2g} of its largest value" if np.isfinite(self.relative) else ""
        return f"output {self.output[:MOST_NAME]!r} differs{how}"


def judge(ask: Ask, batches: Iterable[samples.Batch], tolerance: float, what: str) -> Batching:
    """What is to be done with requests, after batches of at least two items each; `what` tells what they are of.

    `ask` raises `NotTakenError` for what the model does not take.
    """
    largest: dict[str, float] = defaultdict(float)
    asked = 0
    for batch in batches:
        try:
            why = _dependence(ask, batch, tolerance, largest)
        except NotTakenError as error:
            why = str(error)
        if why is not None:
            return Batching(mode="Disabled", reason="ItemsInteract", message=_told(f"on {what}, {why}"))
        asked += _size(batch)
    if not asked:
        return not_checked(
            "there is no batch of two items to ask the model", "give samples in spec.verification.dataUri"
        )
    message = f"{asked} samples of {what} are answered alike in a batch, alone and in another order"
    return Batching(mode="Dynamic", reason="ItemsIndependent", message=_told(message))


def no_batches(why: str) -> Batching:
    """The model takes none: a request is a call of it."""
    return Batching(mode="Disabled", reason="NoBatches", message=_told(why))


def not_checked(why: str, way_out: str) -> Batching:
    """Nobody knows, so nobody's requests are put together."""
    message = f"{why}: {way_out} to have it seen whether requests may be put together"
    return Batching(mode="Disabled", reason="NotChecked", message=_told(message))


def _dependence(ask: Ask, batch: samples.Batch, tolerance: float, largest: dict[str, float]) -> str | None:
    """How the items depend on each other; None where they do not.

    Raises:
        NotTakenError: an item alone, or the items in another order, are refused.
    """
    size = _size(batch)
    whole = _answers(ask, batch, range(size))
    for name, answer in whole.items():
        largest[name] = max(largest[name], deviation(answer, answer).largest)

    def differences(asked: Sequence[int], kept: Iterable[int]) -> Iterator[_Difference]:
        """Of the answers to the batch's items `asked`, those in the places `kept` that are not as in the batch."""
        answers = _answers(ask, batch, asked)
        for place in kept:
            for name, expected in whole.items():
                found = answers[name][place]
                relative = _relative(found, expected[asked[place]], largest[name])
                if relative > tolerance:
                    yield _Difference(asked[place], name, relative, _are_few(found, expected[asked[place]]))

    alone = [found for item in _some(size) for found in differences([item], [0])]
    pair = list(differences([size - 1, 0], [0, 1]))
    turned = list(differences(range(size)[::-1], range(size)))
    every = [*turned, *alone, *pair]
    if not every:
        return None
    doubted = {found.item for found in every}
    for kept, asked in _companies(size, doubted):
        for found in differences(asked, kept):
            return f"an item's answer depends on the items beside it: {found}"
    # In the same place of a batch of the same size, an item's answer is the same in any company. So it differs with the
    # size or the place; as kernels round otherwise, a class or a box may here and there be another one. Of a picture
    # or a map of classes that is here and there within an item.
    if 2 * len({found.item for found in every if not found.few}) < size:
        log.event("convert", "Rounding changes some items' answers", items=len(doubted), of=size, first=str(every[0]))
        return None
    many = next(found for found in every if not found.few)
    what = "its place in the batch" if any(not found.few for found in turned) else "how many are beside it"
    return f"an item's answer depends on {what}: {many}"


def _companies(size: int, doubted: set[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Which items to keep in their places, and whom to ask for: one of them takes the places of all others.

    Any two items are kept apart at least once, either of them: where their numbers differ by a bit. He who takes the
    others' places is one of whom there is no doubt, for copies of an item may be what drives it out.
    """
    for bit in range((size - 1).bit_length()):
        for side in (0, 1):
            kept = [item for item in range(size) if (item >> bit) & 1 == side]
            other = next((item for item in kept if item not in doubted), kept[0])
            yield kept, [item if (item >> bit) & 1 == side else other for item in range(size)]


def _some(size: int) -> list[int]:
    """The items to ask alone: all, or the first, the last and evenly some between them."""
    return sorted({round(item) for item in np.linspace(0, size - 1, min(size, MOST_ALONE))})


def _answers(ask: Ask, batch: samples.Batch, items: Sequence[int]) -> samples.Batch:
    """The answers to these items of the batch, each with as many rows.

    Raises:
        NotTakenError: they are refused, or an output has another number of rows.
    """
    answers = ask({name: values[list(items)] for name, values in batch.items()})
    for name, answer in answers.items():
        if answer.ndim == 0 or len(answer) != len(items):
            raise NotTakenError(
                f"output {name[:MOST_NAME]!r} has the shape {list(answer.shape)} for {_count(len(items))}: its first "
                "dimension is not the batch's"
            )
    return answers


def _relative(found: Any, expected: Any, largest: float) -> float:
    """How far an item's answer is from that in the batch, relative to the output's largest value."""
    found, expected = np.asarray(found), np.asarray(expected)
    seen = deviation(found, expected)
    if expected.dtype.kind != "f" and seen.difference:
        return float("inf")
    return (seen | Deviation(largest=largest)).relative


def _are_few(found: Any, expected: Any) -> bool:
    """Whether an item's whole numbers or truths differ in so few places that rounding explains it."""
    found, expected = np.asarray(found), np.asarray(expected)
    if expected.dtype.kind not in "iub" or unlike(found, expected):
        return False
    return bool(np.count_nonzero(found != expected) <= FEW * expected.size)


def _size(batch: samples.Batch) -> int:
    return len(next(iter(batch.values())))


def _count(items: int) -> str:
    return "an item alone" if items == 1 else f"{items} items"


def _told(text: str) -> str:
    """As the operator takes it, printable; and no longer in the termination message's JSON than there is room for."""
    told = "".join(character if character.isprintable() else "?" for character in text)
    while len(json.dumps(told)) > MOST_MESSAGE:
        told = f"{told[: len(told) * 7 // 8]}..."
    return told
