"""What a record must show before anything is rolled out."""

from typing import Any

import pytest

from tftrt_operator.api.trtmodel import TRTModel
from tftrt_operator.api.verification import Verification
from tftrt_operator.domain.gates import judge, unjudged
from tftrt_operator.domain.record import Summary
from tftrt_operator.domain.sentences import measured as sentence

from .builders import summary, trtmodel


def reason(measured: Summary, **gates: Any) -> str | None:
    failed = judge(Verification.model_validate(gates), measured)
    return None if failed is None else failed.reason


def measured(agreement: str | None = None, error: str | None = None) -> Summary:
    found = {"samples": 41, "top1Agreement": agreement, "maxRelativeError": error}
    return summary(trtmodel(), verification=found)


MEDIANS = {"batchSize": 32, "convertedP50Microseconds": 2000, "nativeP50Microseconds": 3000}
ON_THE_CPU = trtmodel(runtime="cpu", conversion={"precision": "FP32"})


def timed(speedup: str, model: TRTModel = trtmodel(), **found: Any) -> Summary:  # noqa: B008 - it is immutable
    """As a client has it."""
    rates = {"convertedItemsPerSecond": "4199", "nativeItemsPerSecond": "1803"}
    served = {"input": "Host", "inFlight": 2, "speedup": speedup, **rates}
    return summary(model, benchmark=MEDIANS | served | found)


def timed_by_an_older_converter(speedup: str, model: TRTModel = trtmodel()) -> Summary:  # noqa: B008
    """One call at a time, with its input on the device where there is one."""
    return summary(model, benchmark=MEDIANS | {"speedup": speedup})


@pytest.mark.parametrize(
    ("agreement", "gate", "expected"),
    [
        ("0.99", "0.99", None),
        ("1.0", "0.99", None),
        ("0.9899", "0.99", "AccuracyBelowThreshold"),
        ("NaN", "0.0", "AccuracyBelowThreshold"),
        (None, "0.5", "AccuracyUnknown"),
    ],
)
def test_top1_agreement(agreement: str | None, gate: str, expected: str | None) -> None:
    assert reason(measured(agreement), minTop1Agreement=gate) == expected


@pytest.mark.parametrize(
    ("error", "gate", "expected"),
    [
        ("0.01", "0.01", None),
        ("0.0101", "0.01", "AccuracyBelowThreshold"),
        ("NaN", "1e9", "AccuracyBelowThreshold"),
        ("inf", "1e9", "AccuracyBelowThreshold"),
        ("Infinity", "1e9", "AccuracyBelowThreshold"),
        (None, "1", "AccuracyUnknown"),
    ],
)
def test_relative_error(error: str | None, gate: str, expected: str | None) -> None:
    assert reason(measured(error=error), maxRelativeError=gate) == expected


def of_an_older_converter() -> Summary:
    return summary(trtmodel(), verification={"samples": 4, "top1Agreement": "1", "maxRelativeError": "0"})


def test_the_figures_of_an_older_converter_are_judged_as_they_were() -> None:
    assert reason(of_an_older_converter(), minTop1Agreement="1", maxRelativeError="0") is None


def seen(**found: Any) -> Summary:
    return summary(trtmodel(), verification={"samples": 41} | found)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"samples": 0, "notCompared": "AnswersDiffer"}, "the model answers the same input differently each time"),
        ({"notFinite": "1", "equalElements": "1"}, "no finite value in either model on made-up input"),
    ],
)
def test_where_nothing_was_compared_no_gate_passes_and_the_one_reason_is_told(found: dict[str, Any], told: str) -> None:
    for gates in ({"maxRelativeError": "1"}, {"minTop1Agreement": "0"}):
        failed = judge(Verification.model_validate(gates), seen(**found))
        assert failed is not None
        assert failed.reason == "AccuracyUnknown"
        assert told in failed.message


def test_nan_passes_no_gate_however_few_values_are() -> None:
    some = seen(maxRelativeError="0", top1Agreement="1", notFinite="0.2", notANumber="0.2")
    for gates in ({"maxRelativeError": "1"}, {"minTop1Agreement": "0"}):
        failed = judge(Verification.model_validate(gates), some)
        assert failed is not None
        assert failed.reason == "AccuracyUnknown"
        assert "0.2 of an output is NaN in either model on made-up input" in failed.message
    assert reason(some) is None
    infinite = seen(maxRelativeError="0", top1Agreement="1", notFinite="0.2")
    assert reason(infinite, maxRelativeError="0", minTop1Agreement="1") is None


def test_what_is_lost_at_larger_input_passes_no_gate_on_answers() -> None:
    lost = seen(maxRelativeError="0", top1Agreement="1", largerInputGone="0.25")
    told = "with made-up input up to 255 a share of 0.25 of an output is finite in the unconverted model alone"
    for gates in ({"maxRelativeError": "1"}, {"minTop1Agreement": "0"}):
        failed = judge(Verification.model_validate(gates), lost)
        assert failed is not None
        assert failed.reason == "AccuracyBelowThreshold"
        assert told in failed.message
    assert reason(lost) is None
    assert told in sentence(lost)


def test_whole_numbers_are_judged_by_the_share_that_is_equal() -> None:
    labels = seen(top1Agreement="0.59", equalElements="0.59")
    assert reason(labels, maxRelativeError="0.41") is None
    assert reason(labels, maxRelativeError="0.4") == "AccuracyBelowThreshold"
    assert reason(seen(equalElements="NaN"), maxRelativeError="1") == "AccuracyBelowThreshold"


def test_where_classes_have_a_gate_the_one_of_the_error_is_for_quantities_alone() -> None:
    both = seen(top1Agreement="0.97", equalElements="0.97", maxRelativeError="0.001")
    assert reason(both, maxRelativeError="0.01") == "AccuracyBelowThreshold"
    assert reason(both, maxRelativeError="0.01", minTop1Agreement="0.95") is None
    assert reason(both, maxRelativeError="0.0001", minTop1Agreement="0.95") == "AccuracyBelowThreshold"


def test_what_shows_no_classes_is_to_be_named() -> None:
    failed = judge(Verification.model_validate({"minTop1Agreement": "0.9"}), measured(error="0.1"))
    assert failed is not None
    assert "name it in top1Output" in failed.message


def test_what_was_measured_is_told_with_what_it_was_measured_on() -> None:
    found = seen(
        maxRelativeError="0.001", maxChannelError="0.5", largerInputError="0.2", equalElements="1", notFinite="0.25"
    )
    assert sentence(found) == (
        "largest relative error 0.001 (0.5 in a channel, 0.2 of made-up input up to 255),"
        " 1 of whole numbers, texts and truths are equal, 0.25 of an output is not finite in either model,"
        " on 41 samples of made-up input"
    )
    assert sentence(of_an_older_converter()) == (
        "largest relative error 0, top-1 agreement 1, on 4 samples of made-up input"
    )
    nothing = seen(samples=0, notCompared="AnswersDiffer", uri="s3://data/held-out")
    assert sentence(nothing) == "the model answers the same input differently each time"


def test_without_a_gate_everything_passes() -> None:
    assert reason(measured()) is None
    assert reason(summary(trtmodel())) is None


def test_a_gate_without_any_evidence_is_not_passed() -> None:
    assert reason(summary(trtmodel()), maxRelativeError="1") == "AccuracyUnknown"
    assert reason(summary(trtmodel()), minSpeedup="1") == "SpeedupUnknown"


@pytest.mark.parametrize(
    ("speedup", "gate", "expected"),
    [
        ("1.5", "1.5", None),
        ("1.49", "1.5", "SpeedupBelowThreshold"),
        ("NaN", "0.1", "SpeedupBelowThreshold"),
    ],
)
def test_speedup(speedup: str, gate: str, expected: str | None) -> None:
    assert reason(timed(speedup), minSpeedup=gate) == expected


def test_what_the_device_does_passes_no_gate() -> None:
    found = timed("1.76", speedupOnDevice="9.48")
    assert reason(found, minSpeedup="1.76") is None
    failed = judge(Verification.model_validate({"minSpeedup": "5"}), found)
    assert failed is not None
    assert failed.reason == "SpeedupBelowThreshold"
    assert failed.message == (
        "the converted model is 1.76 times as fast as the unconverted one at batch size 32, 2 calls at a time, input"
        " and answers on the host (4199 against 1803 items a second, and 9.48 times with its input on the device"
        " already), verification.minSpeedup asks for 5"
    )


def test_the_device_figure_of_an_older_converter_passes_no_gate_but_where_the_engine_is_rolled_out() -> None:
    """Nothing is converted again for a figure, and nothing is rolled out by one that no client has."""
    gates, older = Verification.model_validate({"minSpeedup": "5"}), timed_by_an_older_converter("6.50")
    failed = judge(gates, older)
    assert failed is not None
    assert failed.reason == "SpeedupUnknown"
    assert failed.message == (
        "an older converter has told of this engine that it is 6.50 times as fast as the unconverted model at batch"
        " size 32 with its input on the device already, which no client over the network has. What a client has is not"
        " known, and so not whether it is verification.minSpeedup, 5: a new source.revision has it converted and timed"
        " again; or drop the gate"
    )
    assert judge(gates, older, is_rolled_out=True) is None
    assert unjudged(gates, older) == failed.message
    assert reason(older) is None


def test_what_failed_by_the_figure_of_the_device_fails_whether_or_not_it_is_rolled_out() -> None:
    gates, older = Verification.model_validate({"minSpeedup": "7"}), timed_by_an_older_converter("6.50")
    for is_rolled_out in (False, True):
        failed = judge(gates, older, is_rolled_out=is_rolled_out)
        assert failed is not None
        assert failed.reason == "SpeedupBelowThreshold"
        assert "at batch size 32 with its input on the device already, which no client over the" in failed.message
        assert "(2000 against 3000 microseconds)" in failed.message


def test_without_a_device_an_older_converter_measured_from_the_host() -> None:
    older = timed_by_an_older_converter("1.50", ON_THE_CPU)
    assert reason(older, minSpeedup="1.5") is None
    assert unjudged(Verification.model_validate({"minSpeedup": "1.5"}), older) == ""
    failed = judge(Verification.model_validate({"minSpeedup": "2"}), older)
    assert failed is not None
    assert "at batch size 32, one call at a time, input and answers on the host (2000 against 3000" in failed.message


def test_a_condition_says_whose_figure_it_is() -> None:
    assert sentence(timed("1.76", speedupOnDevice="9.48")).endswith(
        "1.76 times as fast at batch size 32, 2 calls at a time, input and answers on the host,"
        " 9.48 times with its input on the device already"
    )
    assert sentence(timed("1.10", ON_THE_CPU)).endswith("2 calls at a time, input and answers on the host")
    assert sentence(timed_by_an_older_converter("6.50")).endswith(
        "6.50 times as fast at batch size 32 with its input on the device already, which no client over the network has"
    )


def test_the_message_carries_the_numbers() -> None:
    failed = judge(Verification.model_validate({"minTop1Agreement": "0.99"}), measured("0.9756"))
    assert failed is not None
    assert "0.9756 on 41 samples of made-up input" in failed.message
    assert "asks for 0.99" in failed.message
    slow = judge(Verification.model_validate({"minSpeedup": "2"}), timed("1.5"))
    assert slow is not None
    assert "1.5 times as fast" in slow.message
    assert "at batch size 32, 2 calls at a time" in slow.message
    assert "(4199 against 1803 items a second)" in slow.message
