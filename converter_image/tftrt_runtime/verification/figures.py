"""What a comparison has shown: a row for each output and batch size, and the worst of all. Without TensorFlow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from tftrt_runtime.contract.artifact import Verification
from tftrt_runtime.report.data import Comparison
from tftrt_runtime.verification.agreement import Seen, decimal_text, share_text, some_text
from tftrt_runtime.verification.classes import is_discrete, of_classes, same_classes
from tftrt_runtime.verification.comparisons import LARGER
from tftrt_runtime.verification.messages import CheckRequest

Asked = tuple[int, "int | None"]  # the batch size, and where made-up floats end


@dataclass(frozen=True)
class Compared:
    """What was seen of each output: by batch size, and where made-up input ended; how many samples were asked so.

    `of_calls` are outputs of a model that takes no batches whose first dimension is not that of the items of a call.
    """

    seen: Mapping[tuple[Asked, str], Seen]
    asked: Mapping[Asked, int]
    of_calls: frozenset[str] = frozenset()

    @property
    def outputs(self) -> dict[str, Seen]:
        """What was seen of each output in all batches, but for those of larger input than is usual."""
        every: dict[str, Seen] = defaultdict(Seen)
        for ((_, up_to), name), each in self.seen.items():
            if up_to != LARGER:
                every[name] |= each
        return dict(every)

    def classes(self, request: CheckRequest) -> set[str]:
        """The outputs of classes: the one that the user named, or of those that show to be what is of items."""
        found = of_classes(self.outputs, request.origins, request.top1_output)
        return found if request.top1_output is not None else found - self.of_calls


def comparisons(compared: Compared, request: CheckRequest) -> tuple[Comparison, ...]:
    """A row for each output at each batch size and size of input; what was not compared has no figure."""
    classes = compared.classes(request)
    return tuple(
        _comparison(name, asked, compared.asked[asked], each, request, name in classes)
        for (asked, name), each in compared.seen.items()
    )


def _comparison(
    name: str, asked: Asked, samples: int, each: Seen, request: CheckRequest, is_of_classes: bool
) -> Comparison:
    same = same_classes(each) if is_of_classes else None
    whole = each.kind != "f" and each.elements > 0
    quantity = not is_discrete(name, each, request.origins)
    channel = each.channel_error if quantity and not is_of_classes else None
    apart = each.elements - each.finite - each.gone if each.kind == "f" else 0
    return Comparison(
        output=name,
        batchSize=asked[0],
        inputUpTo=asked[1],
        samples=samples,
        maxRelativeError=decimal_text(each.error) if quantity and each.error is not None else None,
        maxChannelError=decimal_text(channel[0]) if channel else None,
        channel=channel[1] if channel else None,
        equalElements=share_text(each.equal, each.elements) if whole else None,
        withinOneStep=share_text(each.near, each.elements) if whole and quantity else None,
        notFinite=some_text(apart, each.elements) if apart else None,
        gone=some_text(each.gone, each.elements) if each.gone else None,
        top1Agreement=share_text(same.part, same.whole) if same else None,
    )


def verification(compared: Compared, rows: tuple[Comparison, ...], request: CheckRequest) -> Verification:
    """The worst of each figure; of classes the share over all samples, of the output where it is least.

    Larger input than is usual has figures of its own: most networks are made for one of the two, and what is far from
    what a network was made for, or calibrated on, says nothing of its errors. There alone values may be gone.
    """
    usual, larger = [row for row in rows if row.inputUpTo != LARGER], [row for row in rows if row.inputUpTo == LARGER]
    outputs = compared.outputs
    classes = compared.classes(request)
    agreements = [same for name in classes if (same := same_classes(outputs[name])) is not None]
    worst = min(agreements, key=lambda same: same.share, default=None)
    discrete = [each for name, each in outputs.items() if is_discrete(name, each, request.origins) and each.elements]
    least = min(discrete, key=lambda each: Fraction(each.equal, each.elements), default=None)
    floats = [each for each in outputs.values() if each.kind == "f" and each.elements]
    most = max(floats, key=lambda each: Fraction(each.elements - each.finite, each.elements), default=None)
    apart = most.elements - most.finite if most else 0
    gone = _largest(row.gone for row in larger)
    nan = max(floats, key=lambda each: Fraction(each.nan, each.elements), default=None)
    all_apart = most is not None and most.finite == 0
    return Verification(
        samples=sum(samples for (_, up_to), samples in compared.asked.items() if up_to != LARGER),
        top1Agreement=share_text(worst.part, worst.whole) if worst else None,
        maxRelativeError=None if all_apart else _largest(row.maxRelativeError for row in usual),
        uri=request.data and request.data.uri,
        top1Output=request.top1_output,
        maxChannelError=_largest(row.maxChannelError for row in usual),
        largerInputError=None if gone else _largest(row.maxRelativeError for row in larger),
        largerInputGone=gone,
        equalElements=share_text(least.equal, least.elements) if least else None,
        notFinite=some_text(apart, most.elements) if most and apart else None,
        notANumber=some_text(nan.nan, nan.elements) if nan and nan.nan else None,
        notCompared=request.not_compared,
    )


def _largest(texts: Iterable[str | None]) -> str | None:
    return max((text for text in texts if text is not None), key=Decimal, default=None)
