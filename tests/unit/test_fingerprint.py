from dataclasses import replace
from typing import Any

import pytest

from tftrt_operator.domain.fingerprint import EngineInputs, canonical_form, engine_inputs, fingerprint
from tftrt_operator.domain.record import parse_record, record_text
from tftrt_operator.domain.why_convert import changes

from .builders import CPU, TRITON, engine_record, trtmodel

BASE = EngineInputs(source_uri="pvc://models/resnet50", tensorflow="2.14.1", tensorrt="8.5.3.1")


def graph(tensor: str, answer: str) -> dict[str, Any]:
    return {"uri": "pvc://models/graph.pb", "format": "FrozenGraph", "inputs": [tensor], "outputs": [answer]}


def test_a_fingerprint_never_changes_for_the_same_inputs() -> None:
    """Golden: these strings are in stores, records and Job names of users. They may only ever be added to."""
    assert canonical_form(BASE) == (
        '{"source_uri":"pvc://models/resnet50","tensorflow":"2.14.1","tensorrt":"8.5.3.1","version":1}'
    )
    assert fingerprint(BASE) == "3cb5b484dbd49111d70919dfc65c5a53"
    full = replace(
        BASE,
        source_revision="3",
        signature="predict",
        precision="FP16",
        max_workspace_size=4_000_000_000,
        batch_sizes=(1, 8, 32),
        gpu_product="NVIDIA-A10",
        gpu_resource_name="nvidia.com/mig-1g.10gb",
    )
    assert fingerprint(full) == "262dc275455f2f5f12708f37da3dbb35"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://models.example.com/resnet50.zip", "518d88019f68fe457027b79bfee9efe1"),
        ("https://models.example.com/download?file=resnet50.zip&version=3", "c31dee22ad0ae607255327ad4eeaf93a"),
        ("http://models.example.com/model.zip?token=abc", "a917d915b424f49acf85ba599d7ec61f"),
        ("https://tfhub.dev/google/x/5?tf-hub-format=compressed", "d71cc2361cb1e44bf1969aa526f9713f"),
        ("https://models.example.com/model.zip?signature=serving&expires=never", "c821b048bf1ee39ac8123e05934eac31"),
        ("https://models.example.com/model.zip?sig=a", "a600977068418542bbbd653194bff8fc"),
        ("s3://models/what?X-Amz-Signature=1/3", "fb9b1cc98cb3b69dd8271aca7ab0831c"),
    ],
)
def test_a_query_that_is_no_signature_says_which_file_it_is(uri: str, expected: str) -> None:
    """Golden as well: they are what they were when all of a query made a fingerprint."""
    assert fingerprint(engine_inputs(trtmodel(source={"uri": uri}).spec, TRITON)) == expected


AMAZON = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={0}%2Fs3&X-Amz-Date={0}&X-Amz-Expires=3600&X-Amz-Signature={0}"
)
SIGNED = [
    f"{AMAZON}&X-Amz-SignedHeaders=host&X-Amz-Security-Token={{0}}",
    "x%2Damz%2dsignature={0}&X-AMZ-DATE={0}",
    "X-Goog-Algorithm=GOOG4&X-Goog-Credential={0}&X-Goog-Date={0}&X-Goog-Expires=9&X-Goog-SignedHeaders=host&X-Goog-Signature={0}",
    "sv=2024-11-04&st={0}&se={0}&sr=b&sp=r&sip={0}&spr=https&skoid={0}&sktid={0}&skt={0}&ske={0}&sks=b&skv=1&sig={0}%3D",
    "AWSAccessKeyId={0}&Signature={0}&Expires={0}&x-amz-security-token={0}",
    "GoogleAccessId=me&Expires={0}&Signature={0}",
    "Policy={0}&Signature={0}&Key-Pair-Id=K1",
    "OSSAccessKeyId={0}&Expires={0}&Signature={0}&security-token={0}",
    "x-oss-signature-version=OSS4&x-oss-credential={0}&x-oss-date={0}&x-oss-expires={0}&x-oss-signature={0}",
    "q-sign-algorithm=sha1&q-ak={0}&q-sign-time={0}&q-key-time={0}&q-header-list=host&q-url-param-list=&q-signature={0}",
]


@pytest.mark.parametrize("query", SIGNED)
def test_an_address_that_is_signed_again_is_the_same_source_and_the_same_calibration_data(query: str) -> None:
    def inputs(signature: str, version: str = "1") -> EngineInputs:
        uri = f"https://models.example.com/model.zip?versionId={version}&{query.format(signature)}"
        conversion = {"precision": "INT8", "calibration": {"uri": uri}}
        return engine_inputs(trtmodel(source={"uri": uri}, conversion=conversion).spec, TRITON)

    assert fingerprint(inputs("of-today")) == fingerprint(inputs("of-tomorrow"))
    assert inputs("of-today").source_uri == "https://models.example.com/model.zip?versionId=1"
    assert fingerprint(inputs("of-today")) != fingerprint(inputs("of-today", version="2"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"conversion": {"maxWorkspaceSize": "4G"}}, {"conversion": {"maxWorkspaceSize": 4000000000}}),
        ({"conversion": {"maxBatchSize": 8}}, {"conversion": {"maxBatchSize": 8, "batchSizes": [8, 1]}}),
        ({"source": {"uri": "pvc://models/resnet50/"}}, {"source": {"uri": "pvc://models//resnet50"}}),
        ({}, {"conversion": {"precision": "FP32", "maxWorkspaceSize": "1Gi"}}),
        ({}, {"serving": {"replicas": 4}, "gpu": {"memory": "12G"}, "rollout": {"strategy": "InPlace"}}),
        (
            {},
            {"source": {"uri": "pvc://models/resnet50", "secretName": ""}, "verification": {"dataUri": "s3://data/x"}},
        ),
        ({}, {"conversion": {"retries": 9, "deadlineSeconds": 60, "resources": {"limits": {"cpu": "1"}}}}),
        ({"source": graph("net/x:0", "y:0")}, {"source": graph("net/x", "y")}),
    ],
)
def test_what_means_the_same_engine_has_the_same_fingerprint(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = engine_inputs(trtmodel(**one).spec, TRITON), engine_inputs(trtmodel(**other).spec, TRITON)
    assert fingerprint(first) == fingerprint(second)


def bound(**values: Any) -> dict[str, Any]:
    return {"source": {"uri": "pvc://models/resnet50", "values": values}}


@pytest.mark.parametrize(
    "values", [{"keep_prob": 1}, {"keep_prob": 0.5}, {"keep_prob": True}, {"keep_prob": "1"}, {"keep": 1}]
)
def test_what_an_input_is_bound_to_is_part_of_an_engine_and_nothing_is_where_none_is(values: dict[str, Any]) -> None:
    """Of another type is another value."""
    every: list[dict[str, Any]] = [
        {},
        {"keep_prob": 1},
        {"keep_prob": 0.5},
        {"keep_prob": True},
        {"keep_prob": "1"},
        {"keep": 1},
    ]
    made = fingerprint(engine_inputs(trtmodel(**bound(**values)).spec, TRITON))
    others = [fingerprint(engine_inputs(trtmodel(**bound(**other)).spec, TRITON)) for other in every]
    assert others.count(made) == 1
    assert others[0] == fingerprint(engine_inputs(trtmodel().spec, TRITON))


def test_values_have_no_order() -> None:
    one, other = bound(a=1, b="x"), bound(b="x", a=1)
    assert engine_inputs(trtmodel(**one).spec, TRITON) == engine_inputs(trtmodel(**other).spec, TRITON)


def test_a_record_gives_back_the_values_that_it_was_written_with() -> None:
    record = engine_record(trtmodel(**bound(phase_train=False, keep_prob=0.5)))
    assert parse_record(record_text(record)) == record


def served(**inputs: Any) -> EngineInputs:
    return engine_inputs(trtmodel(conversion={"inputs": inputs}).spec, TRITON)


IMAGE: dict[str, Any] = {"dtype": "UINT8", "scale": ["0.00392"], "offset": ["-1"]}


def test_the_fingerprint_of_inputs_that_are_served_in_another_type_never_changes_either() -> None:
    """Golden, as the first of this file."""
    assert served() == engine_inputs(trtmodel().spec, TRITON)
    assert '"served_inputs":[["image","UINT8",["0.00392"],["-1"]]]' in canonical_form(served(image=IMAGE))
    assert fingerprint(served(image=IMAGE)) == "26cadce81a6fb07793da669e397a709e"


@pytest.mark.parametrize(
    "change",
    [{"dtype": "FP16"}, {"scale": ["0.0039"]}, {"offset": ["0"]}, {"offset": ["-1", "-1", "-1"]}],
)
def test_the_type_that_an_input_is_served_in_and_what_is_made_of_it_are_part_of_an_engine(
    change: dict[str, Any],
) -> None:
    assert fingerprint(served(image={**IMAGE, **change})) != fingerprint(served(image=IMAGE))
    assert fingerprint(served(image=IMAGE)) != fingerprint(served())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"scale": ["1"], "offset": ["0"]}),
        ({}, {"scale": ["1.0"], "offset": ["-0.00"]}),
        ({"scale": ["0.5"], "offset": ["100"]}, {"scale": ["5e-1"], "offset": ["1e2"]}),
        ({"scale": [".250"]}, {"scale": ["0.25"]}),
    ],
)
def test_the_same_numbers_are_the_same_engine_however_they_are_written(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = served(x={"dtype": "FP16", **one}), served(x={"dtype": "FP16", **other})
    assert fingerprint(first) == fingerprint(second)


def test_served_types_have_no_order_and_a_record_gives_them_back() -> None:
    mask = {"dtype": "FP16"}
    assert served(image=IMAGE, mask=mask) == served(mask=mask, image=IMAGE)
    record = engine_record(trtmodel(conversion={"inputs": {"image": IMAGE, "mask": mask}}))
    assert parse_record(record_text(record)) == record


def test_int8_by_the_graphs_own_ranges_is_another_engine_than_by_data() -> None:
    without = trtmodel(conversion={"precision": "INT8"})
    by_data = trtmodel(conversion={"precision": "INT8", "calibration": {"uri": "s3://data/calibration"}})
    assert changes(engine_inputs(by_data.spec, TRITON), engine_inputs(without.spec, TRITON))


def test_the_runtime_is_part_of_an_engine() -> None:
    spec = trtmodel().spec
    assert fingerprint(engine_inputs(spec, CPU)) != fingerprint(engine_inputs(spec, TRITON))


def test_a_record_gives_back_the_inputs_that_it_was_written_with() -> None:
    model = trtmodel(
        source={"uri": "s3://models/graph.pb", "format": "FrozenGraph", "inputs": ["a:0"], "outputs": ["b:0"]},
        conversion={
            "precision": "INT8",
            "inputShapes": {"a": {"min": [2, 3], "opt": [2, 3], "max": [2, 3]}},
            "calibration": {"uri": "s3://data/calibration"},
        },
        verification={"dataUri": "s3://data/held-out"},
    )
    record = engine_record(model)
    assert parse_record(record_text(record)) == record
