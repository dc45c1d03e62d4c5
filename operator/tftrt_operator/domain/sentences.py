"""What a conversion has shown, in sentences: for conditions and Events."""

from .record import Summary
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


def left_out(summary: Summary) -> str:
    """Return which outputs of the model are not served, "" where all are."""
    if summary.left_out == ():
        return ""
    names = "some outputs" if summary.left_out is None else ", ".join(map(repr, summary.left_out))
    return f"; not of an item, and so not served where maxBatchSize is more than 1: {quote(names)}"


def measured(summary: Summary) -> str:
    """Return how the converted model compares with the unconverted one."""
    compared, timed = summary.verification, summary.benchmark
    parts = []
    if compared is None:
        parts.append("the converter could not compare this model's answers")
    else:
        if compared.max_relative_error:
            parts.append(f"largest relative error {compared.max_relative_error}")
        if compared.top1_agreement:
            parts.append(f"top-1 agreement {compared.top1_agreement}")
        parts.append(f"on {compared.samples} samples of {told_uri(compared.uri or 'seeded input')}")
    if timed is not None:
        parts.append(f"{timed.speedup} times as fast at batch size {timed.batch_size}")
    return ", ".join(parts)
