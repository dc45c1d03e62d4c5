"""Which nodes a pod may run on: what the spec asks for, and where its image, its GPU and its engine can run at all.

By the labels that nodes have and never by reading Nodes: whoever may only write TRTModels learns nothing of the cluster
(decision 33). A node without such a label is let through; what runs there looks for itself.

The labels of GPUs are those of GPU feature discovery (github.com/NVIDIA/k8s-device-plugin, internal/lm/resource.go).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...api.kubernetes import LABEL_VALUE_PATTERN
from ...api.pods import Pods
from ...api.trtmodel import TRTModelSpec
from ..runtime import Accelerator, Runtime

ARCHITECTURE = {"kubernetes.io/arch": "amd64"}
"""The runtimes' images are for no other: TensorFlow, TensorRT and Triton come as wheels for x86-64."""
GPU_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
"""The taint that keeps pods without a GPU off GPU nodes (GKE's own; NVIDIA's GPU operator names it likewise)."""
PRODUCT_LABEL = "nvidia.com/gpu.product"
MAJOR_LABEL, MINOR_LABEL = "nvidia.com/gpu.compute.major", "nvidia.com/gpu.compute.minor"
_SHARED = "-SHARED"
"""What the product's label ends with where several pods share a device, by time slicing or MPS."""
_MIG_RESOURCE = re.compile(r"(nvidia[.]com/mig-[a-z0-9.]{1,40}?)([.]shared)?")
_LABEL_CHARACTERS = 63

Requirement = dict[str, Any]
Term = list[Requirement]
"""Requirements on a node's labels, all of which must hold; of several terms one."""


def asked(pods: Pods, pinned: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the fields of a pod by which a spec says where it may run and as whom; `pinned` are labels of nodes."""
    fields = {
        "nodeSelector": {**pods.node_selector, **(pinned or {})},
        "tolerations": [one.model_dump(by_alias=True, exclude_none=True) for one in pods.tolerations or ()],
        "affinity": pods.affinity,
        "runtimeClassName": pods.runtime_class_name,
        "priorityClassName": pods.priority_class_name,
        "serviceAccountName": pods.service_account_name,
        "imagePullSecrets": [one.model_dump(by_alias=True) for one in pods.image_pull_secrets or ()],
    }
    return {name: value for name, value in fields.items() if value}


def pinned(spec: TRTModelSpec, runtime: Runtime) -> dict[str, str]:
    """Return the label of the nodes that have the GPU which the spec names."""
    return {PRODUCT_LABEL: spec.gpu.product} if _has_gpu(runtime) and spec.gpu.product else {}


def where_it_runs(pod: Mapping[str, Any], terms: Sequence[Term] = (), *, gpu: bool) -> dict[str, Any]:
    """Return a pod that goes only where its image runs, and where one of the terms holds, if there are any."""
    placed = {**pod, "nodeSelector": {**ARCHITECTURE, **pod.get("nodeSelector", {})}}
    tolerations = pod.get("tolerations", [])
    if gpu and GPU_TOLERATION not in tolerations:
        placed["tolerations"] = [*tolerations, GPU_TOLERATION]
    if terms:
        placed["affinity"] = _with_required(pod.get("affinity", {}), terms)
    return placed


def known_gpus(runtime: Runtime) -> list[Term]:
    """Return the terms of nodes whose GPU the runtime's TensorRT knows, as far as their labels tell."""
    newest = runtime.max_compute_capability
    if not _has_gpu(runtime) or newest is None:
        return []
    return [
        [_less(MAJOR_LABEL, newest.major)],
        [_in(MAJOR_LABEL, str(newest.major)), _less(MINOR_LABEL, newest.minor + 1)],
        [_absent(MAJOR_LABEL)],
    ]


def built_for(spec: TRTModelSpec, runtime: Runtime, product: str) -> list[Term]:
    """Return the terms of nodes whose GPU is the product that an engine was built on, as far as their label tells.

    Where the spec names a product, the conversion's node had that label, and the servers' have to have it as well.
    """
    values = [value for value in (product, product + _SHARED) if _may_be_a_label(value)]
    if not _has_gpu(runtime) or spec.gpu.product or not values:
        return []
    label = product_label(spec.gpu.resource_name)
    return [[_in(label, *values)], [_absent(label)]]


def product_label(resource_name: str) -> str:
    """Return the label with the product of a resource: a kind of MIG device beside others on a node has its own."""
    mig = _MIG_RESOURCE.fullmatch(resource_name)
    return f"{mig[1]}.product" if mig else PRODUCT_LABEL


def explained(spec: TRTModelSpec, runtime: Runtime, product: str | None) -> str:
    """Return which nodes are passed over, for whoever looks for why a pod finds none: the scheduler names no label.

    `product` is what an engine was built on, None for a conversion.
    """
    wanted = [f"{label}={value}" for label, value in ARCHITECTURE.items()]
    wanted += [f"{label}={value}, for which spec.gpu.product asks" for label, value in pinned(spec, runtime).items()]
    if product is not None and built_for(spec, runtime, product):
        label = product_label(spec.gpu.resource_name)
        wanted.append(f"{label}={product} or without that label, for the engine was built on {product}")
    if product is None and known_gpus(runtime):
        most = f"compute capability of at most {runtime.max_compute_capability}"
        wanted.append(f"a {most} by {MAJOR_LABEL} or without that label, for runtime {runtime.name!r} knows no newer")
    return f"it goes to nodes with {'; '.join(wanted)}"


def _has_gpu(runtime: Runtime) -> bool:
    return runtime.accelerator is Accelerator.GPU


def _may_be_a_label(value: str) -> bool:
    return len(value) <= _LABEL_CHARACTERS and re.search(LABEL_VALUE_PATTERN, value) is not None


def _in(label: str, *values: str) -> Requirement:
    return {"key": label, "operator": "In", "values": list(values)}


def _less(label: str, than: int) -> Requirement:
    return {"key": label, "operator": "Lt", "values": [str(than)]}


def _absent(label: str) -> Requirement:
    return {"key": label, "operator": "DoesNotExist"}


def _with_required(affinity: Mapping[str, Any], terms: Sequence[Term]) -> Mapping[str, Any]:
    """Return an affinity that asks for one of the terms beside what it asks for already.

    Of the terms that a spec has one must hold, so that each goes together with each of ours. What is no affinity is
    left for the API server to refuse in its own words.
    """
    node: Any = affinity.get("nodeAffinity") or {}
    if not isinstance(node, dict):
        return affinity
    required: Any = node.get(_REQUIRED) or {"nodeSelectorTerms": [_ANY]}
    theirs: Any = required.get("nodeSelectorTerms") if isinstance(required, dict) else None
    if not isinstance(theirs, list) or not all(_is_term(term) for term in theirs):
        return affinity
    both = [
        {**term, "matchExpressions": [*(term.get("matchExpressions") or ()), *ours]}
        for term in theirs
        # An empty term matches no node, and would match some with ours in it.
        if term is _ANY or term.get("matchExpressions") or term.get("matchFields")
        for ours in terms
    ]
    if not both:
        return affinity
    return {**affinity, "nodeAffinity": {**node, _REQUIRED: {**required, "nodeSelectorTerms": both}}}


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_ANY: dict[str, Any] = {}
"""Where a spec has no terms: goes with anything."""


def _is_term(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("matchExpressions") or [], list)
