"""What is told of a pre-signed address: enough to know it again, and nothing that opens it."""

import importlib.util
from pathlib import Path

import pytest

from tftrt_operator.api.trtmodel import TRTModel
from tftrt_operator.domain.fingerprint import fingerprint
from tftrt_operator.domain.manifests.conversion_job import conversion_job, conversion_job_name
from tftrt_operator.domain.record import EngineKey, parse_record, record_text
from tftrt_operator.domain.sentences import measured
from tftrt_operator.domain.told_uri import told_uri, unsigned
from tftrt_operator.domain.why_convert import changes

from .builders import engine_record, summary, target, trtmodel
from .test_fingerprint import SIGNED as OTHER_SIGNATURES

CONVERTERS = Path(__file__).parents[2] / "converter_image" / "tftrt_runtime" / "contract" / "told_uri.py"
SIGNED = "https://models.example.com/model.zip?X-Amz-Signature=planted&X-Amz-Date=1"
PLAIN_ADDRESS = "https://models.example.com/model.zip"
TOLD = "https://models.example.com/model.zip?sha256=1093358e6c3a84b8"
SIGNATURES = [f"{PLAIN_ADDRESS}?{query.format('planted')}" for query in OTHER_SIGNATURES]
QUERIES = ["HTTPS://a/b?sig=planted", "http://a/b?", "https://a/b?c#d?e", "https://a/b?sha256=short"]
PLAIN = [PLAIN_ADDRESS, "s3://bucket/what?/model", "pvc://claim/a?b", TOLD]


@pytest.mark.parametrize("uri", [SIGNED, f"{SIGNED}&version=2", *SIGNATURES, *QUERIES, *PLAIN])
def test_the_operator_and_the_converter_tell_a_uri_alike(uri: str) -> None:
    found = importlib.util.spec_from_file_location("converters_told_uri", CONVERTERS)
    assert found is not None
    assert found.loader is not None
    converters = importlib.util.module_from_spec(found)
    found.loader.exec_module(converters)
    assert converters.told_uri(uri) == told_uri(uri)
    assert converters.unsigned(uri) == unsigned(uri)
    assert told_uri(told_uri(uri)) == told_uri(uri)
    assert "planted" not in told_uri(uri)


@pytest.mark.parametrize("uri", [SIGNED, *SIGNATURES])
def test_nothing_is_told_of_a_signature_and_a_digest_of_what_else_is_in_a_query(uri: str) -> None:
    assert told_uri(uri) == PLAIN_ADDRESS
    assert told_uri(f"{uri}&version=2") == told_uri(f"{PLAIN_ADDRESS}?version=2")
    assert told_uri(f"{uri}&version=2") == f"{PLAIN_ADDRESS}?sha256=8f0ba73c3ff55ba7"


@pytest.mark.parametrize("uri", PLAIN)
def test_a_uri_without_a_query_is_told_as_it_is(uri: str) -> None:
    assert told_uri(uri) == uri


def test_an_engines_key_and_record_hold_no_query_and_the_task_holds_it_all() -> None:
    model = trtmodel(
        source={"uri": SIGNED},
        conversion={"precision": "INT8", "calibration": {"uri": f"{SIGNED}&of=calibration"}},
        verification={"dataUri": f"{SIGNED}&of=verification"},
    )
    record = engine_record(model)
    text = record_text(record)
    assert "planted" not in text
    assert parse_record(text).key == target(model).key, "whose name the record has"
    wanted = target(model)
    task = conversion_job(model, wanted.runtime, wanted.key).body["spec"]["template"]["metadata"]["annotations"]
    assert str(task["tftrt.dev/spec"]).count("planted") == 3, "the user's own spec is what is fetched by"
    assert fingerprint(target(model).inputs) != fingerprint(target(trtmodel(source={"uri": TOLD})).inputs)


def test_an_address_that_is_signed_again_needs_no_job_and_a_failed_run_is_not_that_of_the_new_signature() -> None:
    def model(signature: str) -> TRTModel:
        uri = SIGNED.replace("planted", signature)
        return trtmodel(source={"uri": uri}, verification={"dataUri": uri})

    expired, renewed = target(model("expired")), target(model("renewed"))
    assert expired.key == renewed.key
    assert changes(expired.inputs, renewed.inputs) == ()
    names = {conversion_job_name(model(of), renewed.runtime, renewed.key) for of in ("expired", "renewed")}
    assert len(names) == 2


def test_what_serves_is_told_from_what_is_asked_for_without_a_query() -> None:
    """Both a record of an operator that kept them, and one of this operator's own."""
    old, new = trtmodel(source={"uri": SIGNED}), trtmodel(source={"uri": f"{SIGNED}&again=planted"})
    kept = engine_record(old)
    for before in (kept, parse_record(record_text(kept))):
        assert changes(before.inputs, target(old).inputs) == ()
        (change,) = changes(before.inputs, target(new).inputs)
        assert change.reason == "SourceChanged"
        assert "planted" not in change.message


def test_a_record_of_data_without_a_query_has_the_name_that_it_had() -> None:
    on_data = target(trtmodel(verification={"dataUri": "https://models.example.com/held-out.npz"})).key
    assert on_data == EngineKey(on_data.fingerprint, on_data.store, "https://models.example.com/held-out.npz")


def test_a_query_that_a_summary_holds_is_not_told_either() -> None:
    found = summary(trtmodel(), verification={"samples": 4, "maxRelativeError": "0.1", "uri": SIGNED})
    assert "planted" not in measured(found)
