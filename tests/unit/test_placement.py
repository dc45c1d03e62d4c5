"""Which nodes a pod may run on, as the scheduler reads it."""

from typing import Any

import pytest

from tftrt_operator.api.trtmodel import TRTModel
from tftrt_operator.domain.manifests import placement
from tftrt_operator.domain.runtime import ComputeCapability, Runtime

from .builders import CPU, TRITON, trtmodel
from .test_pods import templates

ARM = {"kubernetes.io/arch": "arm64"}
PLAIN = {"kubernetes.io/arch": "amd64"}
"""A node with a GPU that nobody has labelled."""


def gpu_node(product: str, capability: str) -> dict[str, str]:
    """A node as GPU feature discovery labels it."""
    major, _, minor = capability.partition(".")
    return PLAIN | {
        "nvidia.com/gpu.product": product,
        "nvidia.com/gpu.compute.major": major,
        "nvidia.com/gpu.compute.minor": minor,
    }


A10, H100, B200 = gpu_node("NVIDIA-A10", "8.6"), gpu_node("NVIDIA-H100", "9.0"), gpu_node("NVIDIA-B200", "10.0")
SHARED = gpu_node("NVIDIA-A10-SHARED", "8.6")
NODES = {"arm": ARM, "plain": PLAIN, "A10": A10, "A10 shared": SHARED, "H100": H100, "B200": B200}


def admits(pod: dict[str, Any], node: dict[str, str]) -> bool:
    """Whether the node's labels are what a pod asks for, as kube-scheduler's NodeAffinity decides it."""
    if not pod.get("nodeSelector", {}).items() <= node.items():
        return False
    required = (pod.get("affinity", {}).get("nodeAffinity") or {}).get(placement._REQUIRED)
    return required is None or any(_holds(term, node) for term in required["nodeSelectorTerms"])


def _holds(term: dict[str, Any], node: dict[str, str]) -> bool:
    return bool(term.get("matchExpressions")) and all(_meets(node, **one) for one in term["matchExpressions"])


def _meets(node: dict[str, str], key: str, operator: str, values: tuple[str, ...] = ()) -> bool:
    match operator:
        case "In":
            return node.get(key) in values
        case "Lt":
            return key in node and int(node[key]) < int(values[0])
        case "Exists":
            return key in node
        case "DoesNotExist":
            return key not in node
    raise AssertionError(operator)


def places(model: TRTModel, runtime: Runtime | None = None) -> dict[str, set[str]]:
    """By pod, the nodes that it may go to."""
    pods = {name: template["spec"] for name, template in templates(model, runtime).items()}
    return {name: {told for told, node in NODES.items() if admits(pod, node)} for name, pod in pods.items()}


def test_servers_go_where_their_engine_runs_and_conversions_where_tensorrt_knows_the_gpu() -> None:
    assert places(trtmodel()) == {
        "conversion": {"plain", "A10", "A10 shared", "H100"},
        "server": {"plain", "A10", "A10 shared"},
        "cleanup": NODES.keys() - {"arm"},
    }


def test_without_a_gpu_pods_go_to_all_nodes_that_their_image_is_for() -> None:
    assert places(trtmodel(runtime="cpu")) == dict.fromkeys(("conversion", "server", "cleanup"), NODES.keys() - {"arm"})


def test_where_the_spec_names_the_product_its_label_is_all_that_servers_ask_for() -> None:
    """Who labels nodes in a way of their own names them by it, and may call an A10 what they like."""
    pod = templates(trtmodel(gpu={"product": "little-one"}))["server"]["spec"]
    assert admits(pod, gpu_node("little-one", "8.6"))
    assert not any(admits(pod, node) for node in NODES.values())
    assert "affinity" not in pod


def test_what_tensorrt_knows_is_counted_to_the_minor_generation() -> None:
    older = Runtime("old", "i", "2.14.1", "8.4.0", TRITON.accelerator, max_compute_capability=ComputeCapability(8, 6))
    pod = templates(trtmodel(), older)["conversion"]["spec"]
    assert [admits(pod, gpu_node("X", capability)) for capability in ("7.5", "8.6", "8.9", "9.0")] == [
        True,
        True,
        False,
        False,
    ]
    unknown = Runtime("any", "i", "2.14.1", "8.4.0", TRITON.accelerator)
    assert admits(templates(trtmodel(), unknown)["conversion"]["spec"], B200)


def affine(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"nodeAffinity": {placement._REQUIRED: {"nodeSelectorTerms": list(terms)}}, "podAntiAffinity": {}}


def needs(key: str, operator: str = "Exists") -> dict[str, Any]:
    return {"key": key, "operator": operator}


def test_an_affinity_of_the_specs_own_holds_beside_ours() -> None:
    model = trtmodel(pods={"affinity": affine({"matchExpressions": [needs("a")]}, {"matchExpressions": [needs("b")]})})
    for name in ("conversion", "server"):
        pod = templates(model)[name]["spec"]
        for node in (A10, PLAIN):
            assert admits(pod, node | {"a": ""})
            assert admits(pod, node | {"b": ""})
            assert not admits(pod, node), "one of the spec's own terms must hold"
        assert not admits(pod, B200 | {"a": "", "b": ""})
        assert pod["affinity"]["podAntiAffinity"] == {}


def test_fields_of_a_node_that_an_affinity_names_are_kept() -> None:
    fields = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}
    affinity = templates(trtmodel(pods={"affinity": affine(fields)}))["server"]["spec"]["affinity"]
    terms = affinity["nodeAffinity"][placement._REQUIRED]["nodeSelectorTerms"]
    assert len(terms) == 2
    assert all(term["matchFields"] == fields["matchFields"] and term["matchExpressions"] for term in terms)


def test_a_preferred_affinity_stays_beside_what_is_required() -> None:
    preferred = [{"weight": 1, "preference": {"matchExpressions": [needs("a")]}}]
    node = {"preferredDuringSchedulingIgnoredDuringExecution": preferred}
    pod = templates(trtmodel(pods={"affinity": {"nodeAffinity": node}}))["server"]["spec"]
    assert pod["affinity"]["nodeAffinity"].items() >= node.items()
    assert not admits(pod, H100)


def test_a_term_that_matches_no_node_is_not_made_to_match_some() -> None:
    empty = affine({})
    assert templates(trtmodel(pods={"affinity": empty}))["server"]["spec"]["affinity"] == empty
    pod = templates(trtmodel(pods={"affinity": affine({}, {"matchExpressions": [needs("a")]})}))["server"]["spec"]
    assert not admits(pod, A10)
    assert admits(pod, A10 | {"a": ""})


@pytest.mark.parametrize(
    "nonsense",
    [
        {"nodeAffinity": 5},
        {"nodeAffinity": {placement._REQUIRED: 5}},
        {"nodeAffinity": {placement._REQUIRED: {"nodeSelectorTerms": 5}}},
        {"nodeAffinity": {placement._REQUIRED: {"nodeSelectorTerms": [5]}}},
        {"nodeAffinity": {placement._REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": 5}]}}},
    ],
)
def test_what_is_no_affinity_is_left_for_the_api_server_to_refuse(nonsense: dict[str, Any]) -> None:
    assert templates(trtmodel(pods={"affinity": nonsense}))["server"]["spec"]["affinity"] == nonsense


@pytest.mark.parametrize(
    ("resource", "label"),
    [
        ("nvidia.com/gpu", "nvidia.com/gpu.product"),
        ("nvidia.com/gpu.shared", "nvidia.com/gpu.product"),
        ("nvidia.com/mig-1g.10gb", "nvidia.com/mig-1g.10gb.product"),
        ("nvidia.com/mig-1g.10gb.shared", "nvidia.com/mig-1g.10gb.product"),
        ("nvidia.com/mig-1g.10gb.me", "nvidia.com/mig-1g.10gb.me.product"),
        ("example.com/gpu", "nvidia.com/gpu.product"),
    ],
)
def test_a_kind_of_mig_device_has_a_label_of_its_own(resource: str, label: str) -> None:
    """GPU feature discovery's: `nvidia.com/gpu.product` is the whole card there (strategy `mixed`)."""
    assert placement.product_label(resource) == label


def test_what_can_be_no_label_pins_nothing() -> None:
    assert placement.built_for(trtmodel().spec, TRITON, "N" * 64) == []
    assert placement.built_for(trtmodel().spec, TRITON, "-") == []
    ((pinned,), _) = placement.built_for(trtmodel().spec, TRITON, "N" * 60)
    assert pinned["values"] == ["N" * 60], "with -SHARED it would be too long for a label"


def test_pods_with_a_gpu_tolerate_the_taint_of_gpu_nodes_and_no_others_do() -> None:
    tolerated = {name: template["spec"].get("tolerations") for name, template in templates(trtmodel()).items()}
    assert tolerated == {
        "conversion": [placement.GPU_TOLERATION],
        "server": [placement.GPU_TOLERATION],
        "cleanup": None,
    }
    mine = {"key": "team", "operator": "Equal", "value": "vision"}
    model = trtmodel(pods={"tolerations": [mine, placement.GPU_TOLERATION]})
    assert templates(model)["server"]["spec"]["tolerations"] == [mine, placement.GPU_TOLERATION]
    assert "tolerations" not in templates(trtmodel(runtime="cpu"))["server"]["spec"]


def test_which_nodes_are_passed_over_is_told_by_their_labels() -> None:
    told = placement.explained(trtmodel(gpu={"product": "NVIDIA-A10"}).spec, TRITON, None)
    assert told == (
        "it goes to nodes with kubernetes.io/arch=amd64; nvidia.com/gpu.product=NVIDIA-A10, for which spec.gpu.product"
        " asks; a compute capability of at most 9.0 by nvidia.com/gpu.compute.major or without that label, for runtime"
        " 'triton' knows no newer"
    )
    told = placement.explained(trtmodel().spec, TRITON, "NVIDIA-A10")
    assert told == (
        "it goes to nodes with kubernetes.io/arch=amd64; nvidia.com/gpu.product=NVIDIA-A10 or without that label, for"
        " the engine was built on NVIDIA-A10"
    )
    assert placement.explained(trtmodel(runtime="cpu").spec, CPU, "cpu") == (
        "it goes to nodes with kubernetes.io/arch=amd64"
    )
