"""What a conversion has shown, in sentences: for conditions and Events."""

from collections.abc import Iterator

from .record import MADE_UP, ReportedVerification, Summary
from .speed import how_timed, is_a_clients
from .told_uri import told_uri
from .words import quote


def engines(summary: Summary) -> str:
    """Return how much of the graph runs in TensorRT."""
    if summary.engines == 0:
        return (
            f"no TensorRT engine: {summary.total_ops} operations run in TensorFlow (runtime {summary.versions.runtime})"
        )
    share = 100 * summary.converted_ops / max(summary.total_ops, 1)
    engines = "1 engine holds" if summary.engines == 1 else f"{summary.engines} engines hold"
    return f"{engines} {summary.converted_ops} of {summary.total_ops} operations ({share:.1f} %)"


WHY_NOT_COMPARED = {
    "AnswersDiffer": "the model answers the same input differently each time",
}


def why_not_compared(compared: ReportedVerification | None) -> str:
    """Return why nothing was compared, "" where something was. An older converter does not say which it is."""
    if compared is None:
        return "the converter could not compare this model's answers"
    if compared.not_compared is not None:
        return WHY_NOT_COMPARED.get(compared.not_compared, f"nothing was compared ({compared.not_compared})")
    return "" if compared.samples else "nothing was compared"


def compared_on(compared: ReportedVerification) -> str | None:
    """Return what the figures are measured on, None where nothing was compared."""
    return None if why_not_compared(compared) else told_uri(compared.uri or MADE_UP)


def left_out(summary: Summary) -> str:
    """Return which outputs of the model are not served, "" where all are."""
    if summary.left_out == ():
        return ""
    names = "some outputs" if summary.left_out is None else ", ".join(map(repr, summary.left_out))
    return f"; not of an item, and so not served where maxBatchSize is more than 1: {quote(names)}"


def measured(summary: Summary) -> str:
    """Return how the converted model compares with the unconverted one."""
    compared, timed = summary.verification, summary.benchmark
    parts = list(_agreement(compared))
    if timed is not None:
        parts.append(f"{timed.speedup} times as fast {how_timed(summary, timed)}")
        if is_a_clients(summary) and timed.speedup_on_device is not None:
            parts.append(f"{timed.speedup_on_device} times with its input on the device already")
    return ", ".join(parts)


def _agreement(compared: ReportedVerification | None) -> Iterator[str]:
    if compared is None or why_not_compared(compared):
        yield why_not_compared(compared)
        return
    if compared.max_relative_error is not None:
        beside = [
            f"{error} {where}"
            for error, where in (
                (compared.max_channel_error, "in a channel"),
                (compared.larger_input_error, "of made-up input up to 255"),
            )
            if error is not None
        ]
        in_brackets = f" ({', '.join(beside)})" if beside else ""
        yield f"largest relative error {compared.max_relative_error}{in_brackets}"
    if compared.larger_input_gone is not None:
        gone = compared.larger_input_gone
        yield f"with made-up input up to 255 a share of {gone} of an output is finite in the unconverted model alone"
    if compared.equal_elements is not None:
        yield f"{compared.equal_elements} of whole numbers, texts and truths are equal"
    if compared.top1_agreement is not None:
        yield f"top-1 agreement {compared.top1_agreement}"
    if compared.not_finite is not None:
        yield f"{compared.not_finite} of an output is not finite in either model"
    yield f"on {compared.samples} samples of {compared_on(compared)}"
