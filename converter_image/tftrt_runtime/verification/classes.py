"""Which outputs are of classes, so that it means something how often the same one is the largest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from tftrt_runtime.verification.agreement import Seen
from tftrt_runtime.verification.messages import Origins

# What a signature calls the scores of classes that are no shares of 1, `scores` in TensorFlow's own signature of
# classifiers. Embeddings and boxes have rows of floats, too, and a detector has a score for each box.
CALLED = re.compile(
    r"^scores?$|(^|[^a-z])(logits?|probs?|probabilit(y|ies)|softmax|class_?scores?)([^a-z]|$)", re.IGNORECASE
)


@dataclass(frozen=True)
class Same:
    """Of how many classes how many are the same."""

    part: int
    whole: int

    @property
    def share(self) -> Fraction:
        """From 0 to 1."""
        return Fraction(self.part, self.whole)


def is_discrete(name: str, seen: Seen, origins: Origins) -> bool:
    """Whether an element is the right one or another: texts, truths, whole numbers that were not rounded."""
    return seen.kind != "f" and name not in origins.rounded


def same_classes(seen: Seen) -> Same | None:
    """How many classes of an output of classes are the same; None where it has none.

    Of floats each row, along the last dimension, has a class: that of a sample, a pixel or a word.
    """
    part, whole = (seen.agreeing, seen.rows) if seen.kind == "f" else (seen.equal, seen.elements)
    return Same(part, whole) if whole else None


def of_classes(outputs: Mapping[str, Seen], origins: Origins, named: str | None) -> set[str]:
    """The outputs of classes: the one that the user named, else what tells by itself that it is one.

    `outputs` is what was seen of each in all batches. What is only moved here from an input was never decided.
    """
    if named is not None:
        return {named} & set(outputs)
    return {
        name
        for name, seen in outputs.items()
        if (seen.kind == "f" and (seen.shares_of_one or (seen.rows and CALLED.search(name))))
        or (is_discrete(name, seen, origins) and name not in origins.moved)
    }
