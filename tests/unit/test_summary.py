"""A summary always fits into what the kubelet keeps, and the operator reads in it what it needs.

The converter writes it, and both are here as they are: `tftrt_runtime/contract/termination.py` and `domain/record.py`.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tftrt_operator.domain.how_to_ask import batching
from tftrt_operator.domain.manifests import deployment
from tftrt_operator.domain.manifests.deployment import shared_memory_bytes
from tftrt_operator.domain.record import EngineRecord, Summary, misfit, parse_record, parse_summary, record_text

from .builders import engine_record, target, trtmodel

CONVERTER = Path(__file__).parents[2] / "converter_image"
KEPT = 12 * 1024 // 6
"""Bytes of each of a Job's four containers where a mesh injects two more."""

MODEL = trtmodel(conversion={"maxBatchSize": 128})
KEY = target(MODEL).key


@pytest.fixture(scope="module")
def converter() -> Any:
    """The module of the converter that writes termination messages."""
    sys.path.append(str(CONVERTER))
    try:
        return importlib.import_module("tftrt_runtime.contract.termination")
    finally:
        sys.path.remove(str(CONVERTER))


letters = st.characters(exclude_categories=["C", "Zl", "Zp", "Zs"])


def repeated(longest: int, shortest: int = 0) -> st.SearchStrategy[str]:
    """Texts up to this length, of a few letters that come again and again: drawn one by one there would be too many."""
    return st.builds(
        lambda some, times: (some * times)[:longest],
        st.text(letters, min_size=shortest, max_size=8),
        st.integers(shortest, longest),
    )


texts, names = repeated(1024), repeated(300, 1)
called = names | names.map(lambda name: f"{name}\n\x1b[31m")
"""What a model may call a tensor: what cannot be printed is in no status."""
counts = st.integers(0, 2**60)
words = st.from_regex(r"[A-Za-z0-9][-A-Za-z0-9_.+]{0,63}", fullmatch=True)
shares = st.sampled_from(["0", "0.9999", "1"])
decimals = st.sampled_from(["0", "1", "0.0001234", "0." + "0" * 323 + "4941", "1" + "0" * 308, "inf", "NaN"])
tensors = st.builds(
    lambda some, times: some * times,
    st.lists(
        st.builds(
            lambda name, dtype, shape: {"name": name, "dtype": dtype, "shape": shape},
            called,
            st.sampled_from(["FP32", "BYTES", "INT64", "BOOL"]),
            st.lists(st.sampled_from([-1, 1, 7, 224, 2**31 - 1]), min_size=1, max_size=8),
        ),
        max_size=4,
    ),
    st.integers(0, 60),
)


@st.composite
def summaries(draw: st.DrawFn) -> dict[str, Any]:
    """What any conversion of this engine may have found out."""
    store, product = draw(texts), draw(st.from_regex(r"[A-Za-z0-9][-A-Za-z0-9_.]{0,254}", fullmatch=True))
    artifact = f"pvc://models/{store}/default/{KEY.fingerprint}/{product}"
    told: dict[str, Any] = {
        "result": draw(st.sampled_from(["Published", "Reused"])),
        "fingerprint": KEY.fingerprint,
        "build": draw(st.uuids().map(str)),
        "product": product,
        "artifact": artifact,
        "sourceDigest": f"sha256:{'0' * 64}",
        "device": {
            "name": draw(names.map(lambda name: name[:256])),
            "computeCapability": "9.0",
            "memoryBytes": draw(st.none() | st.integers(1, 2**50)),
            "driver": draw(words),
        },
        "versions": {"tensorflow": draw(words), "tensorrt": draw(words), "runtime": draw(words)},
        "engines": draw(counts),
        "convertedOps": draw(counts),
        "totalOps": draw(counts),
        "batchSizes": sorted(draw(st.sets(st.integers(1, 4096), min_size=1, max_size=16))),
        "batched": draw(st.booleans()),
        "inputs": draw(tensors),
        "outputs": draw(tensors),
        "leftOut": draw(st.lists(called, max_size=3)),
        "artifactBytes": draw(counts),
        "startedAt": "2026-01-01T00:00:00.000Z",
        "finishedAt": "2026-01-01T00:03:00.000Z",
        "verification": draw(
            st.none()
            | st.builds(
                lambda uri, **known: {"samples": 2**40, "uri": uri and f"s3://{uri}", **known},
                st.none() | texts,
                maxRelativeError=st.none() | decimals,
                maxChannelError=st.none() | decimals,
                largerInputError=st.none() | decimals,
                top1Agreement=st.none() | shares,
                equalElements=st.none() | shares,
                notFinite=st.none() | shares,
                notANumber=st.none() | shares,
                largerInputGone=st.none() | shares,
                top1Output=st.none() | names.map(lambda name: name[:253]),
                notCompared=st.sampled_from([None, "AnswersDiffer"]),
            )
        ),
        "memory": draw(
            st.none() | st.builds(lambda one: {"weightsBytes": one, "peakBytes": one, "overheadBytes": one}, counts)
        ),
        "benchmark": draw(
            st.none()
            | st.builds(
                lambda one, served: {
                    "batchSize": 4096,
                    "convertedP50Microseconds": one,
                    "nativeP50Microseconds": one,
                    "fp32P50Microseconds": one,
                    "speedup": f"{one}.00",
                    "fp32Speedup": f"{one}.00",
                    **served,
                },
                st.integers(1, 2**40),
                st.just({})
                | st.builds(
                    lambda rate, on_device: {
                        "input": "Host",
                        "inFlight": 64,
                        "convertedItemsPerSecond": rate,
                        "nativeItemsPerSecond": rate,
                        "speedupOnDevice": on_device,
                    },
                    st.sampled_from(["1", "0.000123456", "4194304000000"]),
                    st.none() | st.integers(1, 2**40).map("{}.00".format),
                ),
            )
        ),
        "batching": draw(
            st.none()
            | st.builds(
                lambda mode, reason, message: {"mode": mode, "reason": reason, "message": message[:400]},
                st.sampled_from(["Dynamic", "Disabled"]),
                st.sampled_from(["ItemsIndependent", "ItemsInteract", "NotChecked", "NoBatches"]),
                texts,
            )
        ),
        "reportUri": draw(st.sampled_from([None, f"{artifact}/builds/job-uid/report.html"])),
    }
    return told


@settings(max_examples=200, deadline=None)
@given(told=summaries())
def test_any_summary_fits_and_the_operator_reads_what_it_needs(converter: Any, told: dict[str, Any]) -> None:
    written = converter.of_summary(converter.Summary.model_validate(told))
    assert len(written.encode()) <= converter.MAX_BYTES < KEPT

    folder = told["artifact"].removesuffix(f"/{told['product']}")
    found, whole = parse_summary(written, folder), Summary.model_validate(printable(told))
    assert found is not None, written
    record = EngineRecord(KEY, engine_record(MODEL).inputs, found)
    assert shared_memory_bytes(record) == shared_memory_bytes(EngineRecord(KEY, record.inputs, whole))
    assert (found.artifact, found.report_uri) == (whole.artifact, whole.report_uri)
    assert (batching(found).mode, batching(found).reason) == (batching(whole).mode, batching(whole).reason)
    for name in ("fingerprint", "build", "product", "source_digest", "versions", "engines", "memory", "benchmark"):
        assert getattr(found, name) == getattr(whole, name)
    assert found.device.memory_bytes == whole.device.memory_bytes
    assert (found.left_out == ()) == (whole.left_out == ())
    if whole.verification is not None:
        assert found.verification is not None
        measured = whole.verification.model_dump(exclude={"uri"})
        assert {name: same(value) for name, value in found.verification.model_dump(exclude={"uri"}).items()} == {
            name: same(value) for name, value in measured.items()
        }
        assert (found.verification.uri is None) == (whole.verification.uri is None)


def printable(told: dict[str, Any]) -> dict[str, Any]:
    """The same with names of as many letters that the operator takes."""

    def named(name: str) -> str:
        return "".join(letter if letter.isprintable() else " " for letter in name)

    sides = {side: [one | {"name": named(one["name"])} for one in told[side]] for side in ("inputs", "outputs")}
    return told | sides | {"leftOut": [named(name) for name in told["leftOut"]]}


def same(value: Any) -> Any:
    """What a figure says, however many digits it is written with."""
    try:
        return str(float(value)) if isinstance(value, str) else value
    except ValueError:
        return value


@settings(max_examples=200, deadline=None)
@given(
    message=st.text(max_size=40).flatmap(lambda some: st.integers(0, 500).map(lambda times: some * times)),
    kind=st.sampled_from(["SourceNotFound", "Internal", "SignatureNotFound"]),
)
def test_any_failure_fits_and_keeps_its_reason_and_both_ends(converter: Any, message: str, kind: str) -> None:
    errors = importlib.import_module("tftrt_runtime.contract.errors")
    written = converter.of_failure(getattr(errors, kind)(message))
    assert len(written.encode()) <= converter.MAX_BYTES
    found = json.loads(written)
    assert found["reason"] == kind
    if found["message"] != message:
        begin, end = found["message"].split(" [...] ", 1)
        assert message.startswith(begin)
        assert message.endswith(end)


def test_what_is_left_out_first_is_what_is_told_elsewhere(converter: Any) -> None:
    """The order is that of the docstring of `of_summary`: as little as will do."""
    tensor = {"name": "x" * 40, "dtype": "FP32", "shape": [-1, 224]}
    small = engine_record(MODEL, inputs=[tensor] * 4, outputs=[tensor]).summary.model_dump(by_alias=True, mode="json")
    unknown = set(small) - set(converter.Summary.model_fields)
    told = {name: value for name, value in small.items() if name not in unknown}
    whole = json.loads(converter.of_summary(converter.Summary.model_validate(told)))
    assert len(whole["inputs"]) == 4
    told["inputs"] = [tensor] * 200
    left = json.loads(converter.of_summary(converter.Summary.model_validate(told)))
    assert left["inputs"] is left["outputs"] is None
    assert left["signature"] == {"sampleBytes": 201 * 224 * 4, "texts": False}
    rest = set(left) - {"inputs", "outputs", "signature"}
    assert {name: left[name] for name in rest} == {name: whole[name] for name in rest}


def left_out_of(told: dict[str, Any]) -> list[str]:
    """What a message does not tell, in the order in which it is left out (docs/how-it-works.md)."""
    measured = told["verification"]
    missing = {
        "digits": len(measured["maxRelativeError"]) < 300,
        "true FP32": "fp32Speedup" not in told["benchmark"],
        "classes": "top1Output" not in measured,
        "tensors": told["inputs"] is None and told["outputs"] is None,
        "names left out": told["leftOut"] is None,
        "sentence": told["batching"]["message"] == "",
        "driver": told["device"]["driver"] == "",
        "data": "sha256=" in measured["uri"],
        "places": told["artifact"] is None and told["reportUri"].startswith("builds/"),
        "device": told["device"]["name"] == "",
    }
    return [name for name, is_missing in missing.items() if is_missing]


ORDER = ["digits", "true FP32", "classes", "tensors", "names left out", "sentence", "driver", "data", "places"]
ORDER += ["device"]


def test_parts_are_left_out_one_after_the_other_and_none_before_it_must_be(converter: Any) -> None:
    """A summary that has some of everything, and grows by what is never left out: its build's name."""
    tensor = {"name": "x" * 40, "dtype": "FP32", "shape": [-1, 224]}
    record = engine_record(
        MODEL,
        inputs=[tensor] * 2,
        outputs=[tensor],
        leftOut=["version", "anchors"],
        device={"name": "NVIDIA A10", "computeCapability": "8.6", "memoryBytes": 2**34, "driver": "580.65.06"},
        batching={"mode": "Disabled", "reason": "ItemsInteract", "message": "output 'y' is off by 1"},
        verification={
            "samples": 9,
            "top1Agreement": "1",
            "maxRelativeError": "1" + "0" * 308,
            "uri": "s3://data/" + "held-out/" * 9,
        },
    )
    told = record.summary.model_dump(by_alias=True, mode="json")
    told = {name: value for name, value in told.items() if name in converter.Summary.model_fields}
    told["verification"] = {name: value for name, value in told["verification"].items() if value is not None}
    told["verification"]["top1Output"] = "labels"
    told["benchmark"] = OF_0_1_0["benchmark"]
    told["reportUri"] = f"{told['artifact']}/builds/job-uid/report.html"
    seen: list[list[str]] = []
    for length in range(1, 2000):
        written = converter.of_summary(converter.Summary.model_validate(told | {"build": "b" * length}))
        found = left_out_of(json.loads(written))
        if not seen or found != seen[-1]:
            seen.append(found)
        if len(written) > converter.MAX_BYTES:
            break
    assert seen == [ORDER[:count] for count in range(len(ORDER) + 1)]


def test_the_order_is_that_of_the_documentation(converter: Any) -> None:
    told = (CONVERTER.parent / "docs" / "how-it-works.md").read_text()
    _, _, after = told.partition("are left out of it one after the other")
    listed = [line for line in after.partition("## ")[0].splitlines() if line[:1].isdigit()]
    assert len(listed) == len(converter.SHORTER) == len(ORDER)


def test_both_take_the_same_for_what_a_signature_does_not_tell(converter: Any) -> None:
    assert converter.OPEN_DIMENSION == deployment._OPEN_DIMENSION
    assert converter.STRING_BYTES == deployment._STRING_BYTES
    assert converter.BYTES == deployment._BYTES
    assert converter.MOST_CALL_BYTES == deployment._MOST_SHARED_MEMORY


def test_a_summary_that_names_no_place_is_of_the_engine_that_its_job_was_for(converter: Any) -> None:
    record = engine_record(MODEL)
    told = record.summary.model_dump(by_alias=True, mode="json") | {"artifact": None}
    folder = record.summary.artifact.removesuffix(f"/{record.summary.product}")
    found = parse_summary(json.dumps(told), folder)
    assert found is not None
    assert misfit(EngineRecord(KEY, record.inputs, found), "default", KEY.record_name) == ""


OF_0_1_0 = {
    "version": 1,
    "result": "Published",
    "fingerprint": KEY.fingerprint,
    "build": "9a3c7f0e-6a53-4f0b-9d43-0f5f9f1f3a77",
    "product": "NVIDIA-A10",
    "artifact": f"{KEY.store}/default/{KEY.fingerprint}/NVIDIA-A10",
    "sourceDigest": f"sha256:{'0' * 64}",
    "device": {"name": "NVIDIA A10", "computeCapability": "8.6", "memoryBytes": 23_609_475_072, "driver": "535.104"},
    "versions": {"tensorflow": "2.14.1", "tensorrt": "8.5.3.1", "runtime": "triton"},
    "engines": 1,
    "convertedOps": 450,
    "totalOps": 457,
    "batchSizes": [1, 128],
    "inputs": [{"name": "input_1", "dtype": "UINT8", "shape": [-1, 224, 224, 3]}],
    "outputs": [{"name": "predictions", "dtype": "FP32", "shape": [-1, 1000]}],
    "artifactBytes": 102_400_000,
    "startedAt": "2026-11-27T12:00:00.000Z",
    "finishedAt": "2026-11-27T12:03:00.000Z",
    "verification": {"samples": 129, "top1Agreement": "1", "maxRelativeError": "0.0005", "uri": None},
    "memory": {"weightsBytes": 2**27, "peakBytes": 2**30, "overheadBytes": 2**29},
    "benchmark": {
        "batchSize": 128,
        "convertedP50Microseconds": 3900,
        "nativeP50Microseconds": 32000,
        "fp32P50Microseconds": 64000,
        "speedup": "8.21",
        "fp32Speedup": "16.41",
    },
    "reportUri": f"{KEY.store}/default/{KEY.fingerprint}/NVIDIA-A10/builds/9a3c7f0e/report.html",
}
BATCHING = {"mode": "Dynamic", "reason": "ItemsIndependent", "message": "an item is answered the same in a batch"}


@pytest.mark.parametrize(
    ("later", "shared", "why"),
    [
        ({}, 6 * 128 * (224 * 224 * 3 + 4 * 1000), "NotChecked"),
        ({"batching": BATCHING}, 6 * 128 * (224 * 224 * 3 + 4 * 1000), "ItemsIndependent"),
        # It knew of nothing to put in the place of tensors that were too many.
        ({"inputs": None, "outputs": None}, 64 * 2**20, "NotChecked"),
    ],
    ids=["0.1.0", "before models without batches", "many tensors"],
)
def test_the_message_of_an_older_converter_is_read_as_it_was(later: dict[str, Any], shared: int, why: str) -> None:
    found = parse_summary(json.dumps(OF_0_1_0 | later), f"{KEY.store}/default/{KEY.fingerprint}")
    assert found is not None
    record = EngineRecord(KEY, engine_record(MODEL).inputs, found)
    assert misfit(record, "default", KEY.record_name) == ""
    assert parse_record(record_text(record)) == record
    assert shared_memory_bytes(record) == -(-shared // 2**20) * 2**20
    assert (found.batched, found.left_out, found.signature) == (True, (), None)
    assert batching(found).reason == why


def test_the_record_of_an_older_operator_is_read_as_it_was() -> None:
    record = engine_record(MODEL)
    written = json.loads(record_text(record))
    later = ("batched", "leftOut", "signature", "batching")
    written["summary"] = {name: value for name, value in written["summary"].items() if name not in later}
    assert parse_record(json.dumps(written)) == record
