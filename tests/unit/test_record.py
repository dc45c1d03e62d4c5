"""What is believed of a record and of a summary, whoever wrote them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tftrt_operator.domain.manifests.deployment import deployment, shared_memory_bytes
from tftrt_operator.domain.record import parse_record, parse_summary, record_text

from .builders import TRITON, engine_record, summary, trtmodel

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
MODEL = trtmodel()
FOLDER = "pvc://models/tftrt/default/engine"
VERIFICATION = {"samples": 9, "top1Agreement": "1.0000", "maxRelativeError": "0.0001"}
BENCHMARK = {"batchSize": 8, "convertedP50Microseconds": 2000, "nativeP50Microseconds": 5000, "speedup": "2.5"}
TENSOR = {"name": "x", "dtype": "FP32", "shape": [-1, 224]}
DEVICE = {"name": "NVIDIA A10", "memoryBytes": 12_000_000_000}
VERSIONS = {"tensorflow": "2.14.1", "tensorrt": "8.5.3.1", "runtime": "triton"}


def written(**changes: Any) -> dict[str, Any]:
    """A record as anyone may have written it."""
    return {**json.loads(record_text(engine_record(MODEL))), **changes}


def message(**changes: Any) -> dict[str, Any]:
    """A summary as anyone may have written it."""
    found: dict[str, Any] = summary(MODEL).model_dump(by_alias=True, mode="json")
    return found | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"benchmark": BENCHMARK | {"speedup": "9.99 see http://elsewhere.example"}},
        {"benchmark": BENCHMARK | {"speedup": "2.5\n"}},
        {"benchmark": BENCHMARK | {"speedupOnDevice": "9.99 see http://elsewhere.example"}},
        {"benchmark": BENCHMARK | {"input": "Host\n"}},
        {"benchmark": BENCHMARK | {"inFlight": 0}},
        {"benchmark": BENCHMARK | {"nativeItemsPerSecond": "many"}},
        {"benchmark": BENCHMARK | {"batchSize": 0}},
        {"benchmark": BENCHMARK | {"convertedP50Microseconds": 2**63}},
        {"verification": VERIFICATION | {"maxRelativeError": "0, see http://elsewhere.example"}},
        {"verification": VERIFICATION | {"top1Agreement": "nonsense"}},
        {"verification": VERIFICATION | {"samples": -1}},
        {"verification": VERIFICATION | {"equalElements": "most"}},
        {"verification": VERIFICATION | {"largerInputGone": "most"}},
        {"verification": VERIFICATION | {"notCompared": "see http://elsewhere.example"}},
        {"verification": VERIFICATION | {"uri": "pvc://models/\x1b[2J"}},
        {"memory": {"weightsBytes": 1, "peakBytes": -1, "overheadBytes": 1}},
        {"reportUri": "pvc://models/report.html\nReady"},
        {"reportUri": "https://elsewhere.example/report.html"},
        {"reportUri": "pvc://models/" + "a" * 2048},
        {"sourceDigest": "sha256:\x1b[31m" + "0" * 59},
        {"fingerprint": "0" * 31},
        {"product": "../cpu"},
        {"build": "a b"},
        {"device": DEVICE | {"name": "a" * 900_000}},
        {"device": DEVICE | {"name": "NVIDIA\nA10"}},
        {"device": DEVICE | {"memoryBytes": 0}},
        {"device": DEVICE | {"driver": "580 see http://elsewhere.example"}},
        {"versions": VERSIONS | {"runtime": "triton), see http://elsewhere.example ("}},
        {"versions": VERSIONS | {"tensorflow": "2.14.1\x1b[0m"}},
        {"startedAt": "yesterday"},
        {"startedAt": "2026-02-30T00:00:00Z"},
        {"finishedAt": "2026-01-01 00:00:00"},
        {"batchSizes": []},
        {"batchSizes": [1, 4097]},
        {"inputs": [TENSOR | {"shape": [-1, 2**31]}]},
        {"inputs": [TENSOR | {"shape": [-2]}]},
        {"inputs": [TENSOR | {"shape": [1] * 33}]},
        {"inputs": [TENSOR | {"dtype": "a float"}]},
        {"outputs": [TENSOR] * 1025},
        {"artifactBytes": -1},
        {"artifactBytes": 2**63},
        {"engines": 10**40},
    ],
    ids=lambda changes: json.dumps(changes)[:60],
)
def test_a_summary_that_no_converter_makes_is_none(changes: dict[str, Any]) -> None:
    assert parse_summary(json.dumps(message()), FOLDER) == summary(MODEL)
    assert parse_summary(json.dumps(message(**changes)), FOLDER) is None
    with pytest.raises(ValueError, match=r"^not an engine record: [^\x1b\n]{1,300}$"):
        parse_record(json.dumps(written(summary=message(**changes))))


@pytest.mark.parametrize(
    "error", ["0", "0.00012", "1e-07", "1E+3", "inf", "Infinity", "NaN", "nan", "0." + "0" * 323 + "4941"]
)
def test_every_number_that_a_converter_writes_is_read(error: str) -> None:
    found = parse_summary(json.dumps(message(verification=VERIFICATION | {"maxRelativeError": error})), FOLDER)
    assert found is not None
    assert found.verification is not None
    assert found.verification.max_relative_error == error


def test_the_summaries_of_real_conversions_are_read() -> None:
    texts = [json.loads(path.read_text()) for path in RESULTS.glob("*/*-convert-*.json")]
    found = [text["summary"] for text in texts if "summary" in text]
    assert found
    for one in found:
        assert parse_summary(json.dumps(one), FOLDER) is not None, one


@pytest.mark.parametrize(
    "changes",
    [
        {"store": {"a": 1}},
        {"fingerprint": 7},
        {"verificationUri": ["pvc://models/data.npz"]},
        {"top1Output": 7},
        {"inputs": []},
        {"inputs": {"source_uri": 7, "tensorflow": "2.14.1", "tensorrt": ""}},
        {"inputs": {"source_uri": "pvc://a", "tensorflow": "2.14.1", "tensorrt": "", "calibration": ["pvc://a"]}},
        {"summary": None},
    ],
    ids=str,
)
def test_a_record_of_other_types_is_none(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not an engine record"):
        parse_record(json.dumps(written(**changes)))


@pytest.mark.parametrize("text", ["", "null", "[]", "7", "[" * 100_000, '{"version": 1}', '{"version": 2}'])
def test_what_is_no_record_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_record(text)


def test_a_record_of_an_operator_that_knew_of_no_output_of_classes_is_read() -> None:
    older = {name: value for name, value in written().items() if name != "top1Output"}
    assert parse_record(json.dumps(older)) == engine_record(MODEL)
    named = trtmodel(verification={"top1Output": "labels"})
    assert parse_record(record_text(engine_record(named))).key.top1_output == "labels"


def test_the_record_of_a_benchmark_is_read_by_the_operator_of_before_and_after() -> None:
    """Of its own time each tells what it knew; an operator that is rolled back needs the four that it knows."""
    older = written(summary=message(benchmark=BENCHMARK))
    found = parse_record(json.dumps(older))
    assert found.summary.benchmark is not None
    assert (found.summary.benchmark.speedup, found.summary.benchmark.input) == ("2.5", None)
    assert parse_record(record_text(found)) == found
    told = {"input": "Host", "inFlight": 2, "speedupOnDevice": "9.48", "convertedItemsPerSecond": "0.0333333"}
    newer = parse_record(json.dumps(written(summary=message(benchmark=BENCHMARK | told))))
    assert parse_record(record_text(newer)) == newer
    assert json.loads(record_text(newer))["summary"]["benchmark"].items() >= (BENCHMARK | told).items()


def test_half_a_character_is_no_text() -> None:
    """It can neither be hashed nor written, where what serves is compared with what is asked for."""
    inputs = {"source_uri": "https://models.example.com/a?\ud800", "tensorflow": "2.14.1", "tensorrt": ""}
    with pytest.raises(ValueError, match="hex escape"):
        parse_record(json.dumps(written(inputs=inputs)))


def test_what_a_record_tells_beside_its_engine_is_kept_only_where_it_can_be() -> None:
    told = {"jobName": "a b\x1b", "attempt": 10**30, "secretName": "../other"}
    found = parse_record(json.dumps(written(**told)))
    assert (found.job_name, found.attempt, found.secret_name) == (None, None, None)


def test_the_memory_of_a_server_is_a_quantity_whatever_the_signature() -> None:
    tensor = {"name": "x", "dtype": "FP32", "shape": [2**31 - 1] * 32}
    record = engine_record(MODEL, inputs=[tensor] * 1024, artifactBytes=2**60)
    assert shared_memory_bytes(record) == 2**60
    body = deployment(MODEL, TRITON, record, None, 1).body
    limits = body["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert int(limits["memory"]) < 2**63


def test_what_a_message_leaves_out_follows_from_the_rest_of_it() -> None:
    whole = summary(MODEL, reportUri=f"{summary(MODEL).artifact}/builds/job-uid/report.html")
    folder = whole.artifact.removesuffix(f"/{whole.product}")
    left = message(artifact=None, reportUri="builds/job-uid/report.html", device=DEVICE | {"name": ""})
    found = parse_summary(json.dumps(left), folder)
    assert found is not None
    assert (found.artifact, found.report_uri) == (whole.artifact, whole.report_uri)
    assert found.device.name == whole.product


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "7", '"a"', '{"device": 7, "reportUri": 7}'])
def test_what_is_no_summary_is_none(text: str) -> None:
    assert parse_summary(text, FOLDER) is None


def test_a_long_signature_leaves_the_bytes_of_its_tensors_for_shared_memory() -> None:
    """200 inputs of 1 KiB and as many answers, 128 at a time."""
    tensors = [{"name": f"x{index}", "dtype": "FP32", "shape": [-1, 256]} for index in range(200)]
    model = trtmodel(conversion={"maxBatchSize": 128})
    told = engine_record(model, inputs=tensors, outputs=tensors)
    sent = engine_record(model, inputs=None, outputs=None, signature={"sampleBytes": 400 * 1024, "texts": False})
    assert shared_memory_bytes(sent) == shared_memory_bytes(told) == 6 * 128 * 400 * 1024


def test_shared_memory_of_a_model_without_batches_holds_calls() -> None:
    """A fixed batch of 8 is no 8 of them."""
    pictures = [{"name": "image", "dtype": "FP32", "shape": [8, 1024, 1024, 3]}]
    record = engine_record(MODEL, inputs=pictures, outputs=[], batched=False, batchSizes=[8])
    assert shared_memory_bytes(record) == 6 * 8 * 1024 * 1024 * 3 * 4
    scalar = [{"name": "keep_prob", "dtype": "FP32", "shape": []}]
    assert shared_memory_bytes(engine_record(MODEL, inputs=scalar, outputs=[], batched=False)) == 64 * 2**20
