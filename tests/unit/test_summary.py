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
from tftrt_operator.domain.record import EngineRecord, Summary, misfit, parse_summary

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
counts = st.integers(0, 2**60)
words = st.from_regex(r"[A-Za-z0-9][-A-Za-z0-9_.+]{0,63}", fullmatch=True)
decimals = st.sampled_from(["0", "1", "0.0001234", "0." + "0" * 323 + "4941", "1" + "0" * 308, "inf", "NaN"])
tensors = st.builds(
    lambda some, times: some * times,
    st.lists(
        st.builds(
            lambda name, dtype, shape: {"name": name, "dtype": dtype, "shape": shape},
            names,
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
        "leftOut": draw(st.lists(names, max_size=3)),
        "artifactBytes": draw(counts),
        "startedAt": "2026-01-01T00:00:00.000Z",
        "finishedAt": "2026-01-01T00:03:00.000Z",
        "verification": draw(
            st.none()
            | st.builds(
                lambda error, uri: {
                    "samples": 2**40,
                    "top1Agreement": "0.9999",
                    "maxRelativeError": error,
                    "uri": uri and f"s3://{uri}",
                },
                decimals,
                st.none() | texts,
            )
        ),
        "memory": draw(
            st.none() | st.builds(lambda one: {"weightsBytes": one, "peakBytes": one, "overheadBytes": one}, counts)
        ),
        "benchmark": draw(
            st.none()
            | st.builds(
                lambda one: {
                    "batchSize": 4096,
                    "convertedP50Microseconds": one,
                    "nativeP50Microseconds": one,
                    "fp32P50Microseconds": one,
                    "speedup": f"{one}.00",
                    "fp32Speedup": f"{one}.00",
                },
                st.integers(1, 2**40),
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


@settings(max_examples=400, deadline=None)
@given(told=summaries())
def test_any_summary_fits_and_the_operator_reads_what_it_needs(converter: Any, told: dict[str, Any]) -> None:
    written = converter.of_summary(converter.Summary.model_validate(told))
    assert len(written.encode()) <= converter.MAX_BYTES < KEPT

    folder = told["artifact"].removesuffix(f"/{told['product']}")
    found, whole = parse_summary(written, folder), Summary.model_validate(told)
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
        assert (
            float(found.verification.max_relative_error or 0) == float(whole.verification.max_relative_error or 0)
            or whole.verification.max_relative_error == "NaN"
        )
        assert (found.verification.uri is None) == (whole.verification.uri is None)


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
