"""How far an item's answer is from the same item's in other company: `company.py REQUEST.json ANSWER.json`.

The request is the one of `tftrt_runtime.verification.reference`, and what is asked is what that asks: the verdict is
the conversion's own. What is new here are the differences that it judged, which it tells only where they are too large.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from tftrt_runtime.contract.artifact import Batching
from tftrt_runtime.processes import child
from tftrt_runtime.verification import independence, reference
from tftrt_runtime.verification.agreement import Deviation, deviation
from tftrt_runtime.verification.messages import ReferenceRequest

from benchmarks.gpu.independence import CompanyAnswer


class Witness:
    """Asks as `independence.judge` wants, and compares each answer with that to the same item in its batch."""

    def __init__(self, ask: independence.Ask) -> None:
        self.ask = ask
        self.items = 0
        self.largest: dict[str, float] = defaultdict(float)
        self._values: dict[str, float] = defaultdict(float)  # of each output, the largest
        self._known: dict[bytes, dict[str, Any]] = {}  # the answers to the items in their batch
        self._whole = 0

    def batches(self, batches: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The same; of each, the first call is that for the whole batch."""
        for batch in batches:
            self._known.clear()
            self._whole = len(next(iter(batch.values())))
            self.items += self._whole
            yield batch

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The model's answers."""
        answers: dict[str, Any] = self.ask(batch)
        first = not self._known
        if first:
            for name, answer in answers.items():
                self._values[name] = max(self._values[name], deviation(answer, answer).largest)
        for place, item in enumerate(_items(batch)):
            rows = {name: np.asarray(answer[place]) for name, answer in answers.items()}
            if first:
                self._known[item] = rows
                continue
            for name, expected in self._known[item].items():
                seen = deviation(rows[name], expected) | Deviation(largest=self._values[name])
                how = self._how(len(_items(batch)))
                self.largest[how] = max(self.largest[how], seen.relative)
        return answers

    def _how(self, size: int) -> str:
        return {1: "alone", self._whole: "otherOrder"}.get(size, "two")


def _items(batch: dict[str, Any]) -> list[bytes]:
    """What tells each item from the others."""
    arrays = list(batch.values())
    return [
        hashlib.sha256(b"".join(array[place].tobytes() for array in arrays)).digest() for place in range(len(arrays[0]))
    ]


def look(request: ReferenceRequest) -> CompanyAnswer:
    """Ask as a conversion does, with a witness."""
    found: list[CompanyAnswer] = []
    judge = independence.judge

    def judge_before_witness(ask: Any, batches: Any, tolerance: float, what: str) -> Batching:
        witness = Witness(ask)
        batching = judge(witness, witness.batches(batches), tolerance, what)
        told = {"tolerance": tolerance, "items": witness.items, "largest": dict(witness.largest)}
        found.append(CompanyAnswer(batching=batching, **told))
        return batching

    independence.judge = judge_before_witness
    reference.refer(request)
    return found[0]


if __name__ == "__main__":
    child.answer(ReferenceRequest, look)
