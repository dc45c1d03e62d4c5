import json
import re
from pathlib import Path

import pytest

from tftrt_operator.api.crd import crd_yaml, custom_resource_definition
from tftrt_operator.api.kubernetes import LABEL_KEY_PATTERN, LABEL_VALUE_PATTERN

ROOT = Path(__file__).parents[2]
COPIES = ["crds/trtmodels.tftrt.dev.yaml", "charts/tftrt-operator/files/trtmodels.tftrt.dev.yaml"]


@pytest.mark.parametrize("path", COPIES)
def test_the_committed_crd_is_what_the_types_say(path: str) -> None:
    assert (ROOT / path).read_text() == crd_yaml(), "stale: run `make crds`"


def test_the_crd_is_far_under_what_client_side_apply_can_carry() -> None:
    """What it carries is the object as JSON, in an annotation."""
    assert len(json.dumps(custom_resource_definition(), separators=(",", ":"))) < 262_144 / 3


def test_every_print_column_leads_to_a_field() -> None:
    version = custom_resource_definition()["spec"]["versions"][0]
    for column in version["additionalPrinterColumns"]:
        first, *rest = column["jsonPath"].partition("[?")[0].removeprefix(".").split(".")
        if first == "metadata":
            continue
        node = version["schema"]["openAPIV3Schema"]["properties"][first]
        for name in rest:
            node = node["properties"][name]


def test_every_field_is_explained() -> None:
    spec = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    missing = []

    def look(node: dict[str, object], path: str) -> None:
        properties = node.get("properties")
        assert isinstance(properties, dict) or properties is None
        for name, child in (properties or {}).items():
            if "description" not in child:
                missing.append(f"{path}.{name}")
            look(child, f"{path}.{name}")

    look(spec, "spec")
    assert missing == []


def test_everything_a_user_can_make_long_is_bounded() -> None:
    spec = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    unbounded = []

    def look(node: dict[str, object], path: str) -> None:
        if node.get("x-kubernetes-preserve-unknown-fields") or node.get("x-kubernetes-int-or-string"):
            return
        kind = node.get("type")
        if kind == "string" and not ({"maxLength", "enum", "format"} & node.keys()):
            unbounded.append(path)
        if kind == "array" and not {"maxItems", "x-kubernetes-list-type"} <= node.keys():
            unbounded.append(path)
        for child_name, child in dict(node.get("properties") or {}).items():  # type: ignore[call-overload]
            look(child, f"{path}.{child_name}")
        for word in ("items", "additionalProperties"):
            if isinstance(child := node.get(word), dict):
                look(child, f"{path}[]")

    look(spec, "spec")
    assert unbounded == []


def test_models_are_in_no_category_that_people_delete_wholesale() -> None:
    """`kubectl delete all --all` is for what runs; a model's artifacts may go with it."""
    assert custom_resource_definition()["spec"]["names"]["categories"] == ["tftrt"]


@pytest.mark.parametrize("key", ["team", "example.com/Team_1", "a" * 63, "a" * 253 + "/b", "7.b-c"])
def test_what_may_be_a_label_is_taken_for_one(key: str) -> None:
    assert re.search(LABEL_KEY_PATTERN, key)
    assert all(re.search(LABEL_VALUE_PATTERN, value) for value in ("", "a", "A.b_c-1"))


@pytest.mark.parametrize("key", ["", "a b", "a/b/c", "/a", "a/", "Example.com/a", "a..b/c", "-a", "a-", "a" * 64])
def test_what_cannot_be_a_label_is_none(key: str) -> None:
    assert not re.search(LABEL_KEY_PATTERN, key)
    assert not any(re.search(LABEL_VALUE_PATTERN, value) for value in ("c d!", "-a", "a.", "/"))


def test_every_map_of_labels_and_every_selector_has_the_rules_of_labels() -> None:
    spec = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    annotations = {"annotations", "podAnnotations"}
    maps = {"labels", "podLabels", "nodeSelector", "matchLabels"} | annotations
    found = []

    def look(node: dict[str, object], name: str) -> None:
        words = str(node.get("x-kubernetes-validations", ""))
        if name in maps:
            found.append(name)
            assert "a key must be a name" in words
            assert name in annotations or "a value must be letters" in words
        if name == "matchExpressions[]":
            found.append(name)
            assert "'key must be a name" in words or '"key must be a name' in words
        for child_name, child in dict(node.get("properties") or {}).items():  # type: ignore[call-overload]
            look(child, child_name)
        if isinstance(child := node.get("items"), dict):
            look(child, f"{name}[]")

    look(spec, "spec")
    assert {name: found.count(name) for name in found} == {
        "labels": 3,
        "annotations": 3,
        "podLabels": 1,
        "podAnnotations": 1,
        "nodeSelector": 4,
        "matchLabels": 4,
        "matchExpressions[]": 4,
    }
