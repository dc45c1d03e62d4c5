"""TRTModel as it is written: what is said once for all pods, and the fields that have moved, which are still read.

The CRD is made of these types. They are read into those of `trtmodel.py` here and nowhere else.
"""

from typing import Any

from pydantic import Field, ValidationError

from .kubernetes import LabelMap
from .pods import Affinity, ObjectName, PodAnnotations, PodLabels, Pods, Tolerations
from .schema import rules
from .serving import Serving
from .status import TRTModelStatus
from .trtmodel import SPEC_RULES, TRTModel, TRTModelSpec

_MOVED = {
    "runtime": ("runtime",),
    "nodeSelector": ("serving.pods.nodeSelector", "pods.nodeSelector"),
    "tolerations": ("pods.tolerations", "conversion.pods.tolerations", "serving.pods.tolerations"),
    "affinity": ("serving.pods.affinity", "pods.affinity"),
    "priorityClassName": ("serving.pods.priorityClassName", "pods.priorityClassName"),
    "serviceAccountName": ("serving.pods.serviceAccountName", "pods.serviceAccountName"),
    "podLabels": ("serving.pods.labels", "pods.labels"),
    "podAnnotations": ("serving.pods.annotations", "pods.annotations"),
}
"""By field of `serving` as it was until v0.1.0: what says the same now, that which means just what it meant first."""


def _has(path: str) -> str:
    parts = path.split(".")
    return " && ".join(f"has(self.{'.'.join(parts[: count + 1])})" for count in range(len(parts)))


def _one_form(field: str, *paths: str) -> tuple[str, str]:
    """Return the rule that a thing is not said in the old form and in the new one."""
    others = " || ".join(f"({_has(path)})" for path in paths)
    return (
        f"!has(self.serving) || !has(self.serving.{field}) || !({others})",
        f"serving.{field} is the old form of {paths[0]}: drop serving.{field}, or {' and '.join(paths)}",
    )


def _deprecated(field: str, what: str) -> str:
    return f"Deprecated: the next version does not read it. Use spec.{_MOVED[field][0]}. {what}"


class ServingAsWritten(Serving):
    """The inference Deployment, with what was said there until v0.1.0."""

    runtime: str | None = Field(
        default=None,
        max_length=63,
        pattern=r"^([a-z]([-a-z0-9]*[a-z0-9])?)?$",
        description=_deprecated("runtime", "The runtime of conversion and serving."),
    )
    node_selector: LabelMap | None = Field(
        default=None, description=_deprecated("nodeSelector", "Labels of nodes that may serve.")
    )
    tolerations: Tolerations | None = Field(
        default=None, description=_deprecated("tolerations", "Taints that conversion and serving accept.")
    )
    affinity: Affinity | None = Field(
        default=None, description=_deprecated("affinity", "Affinity of the inference pods, as in a Pod.")
    )
    priority_class_name: ObjectName | None = Field(
        default=None, description=_deprecated("priorityClassName", "PriorityClass of the inference pods.")
    )
    service_account_name: ObjectName | None = Field(
        default=None, description=_deprecated("serviceAccountName", "ServiceAccount of the inference pods.")
    )
    pod_labels: PodLabels | None = Field(
        default=None, description=_deprecated("podLabels", "More labels for inference pods.")
    )
    pod_annotations: PodAnnotations | None = Field(
        default=None, description=_deprecated("podAnnotations", "More annotations for inference pods.")
    )

    def pods_as_now(self) -> Pods:
        """Return what the inference pods alone have, wherever it is said."""
        moved = {
            "node_selector": self.node_selector,
            "affinity": self.affinity,
            "priority_class_name": self.priority_class_name,
            "service_account_name": self.service_account_name,
            "labels": self.pod_labels,
            "annotations": self.pod_annotations,
        }
        return self.pods.over(Pods().model_copy(update={name: value for name, value in moved.items() if value}))


class TRTModelSpecAsWritten(TRTModelSpec):
    """What the user asks for, as it is written."""

    model_config = TRTModelSpec.model_config | {
        "json_schema_extra": rules(*SPEC_RULES, *(_one_form(field, *paths) for field, paths in _MOVED.items()))
    }

    pods: Pods = Field(
        default_factory=Pods, description="What all pods have. conversion.pods and serving.pods say what only some do."
    )
    serving: ServingAsWritten = Field(
        default_factory=ServingAsWritten, description="How the converted model is served."
    )

    def as_now(self) -> TRTModelSpec:
        """Return the same in the one form that the domain knows."""
        serving = self.serving
        common = self.pods
        if serving.tolerations:  # they were for the conversion, too
            common = Pods(tolerations=serving.tolerations).over(common)
        parts = {name: getattr(self, name) for name in TRTModelSpec.model_fields}
        parts["runtime"] = self.runtime or serving.runtime or ""
        parts["conversion"] = self.conversion.model_copy(update={"pods": self.conversion.pods.over(common)})
        told = {name: getattr(serving, name) for name in Serving.model_fields}
        parts["serving"] = Serving.model_construct(**told | {"pods": serving.pods_as_now().over(common)})
        return TRTModelSpec.model_construct(**parts)


class TRTModelAsWritten(TRTModel):
    """A TRTModel as the API server gives it."""

    spec: TRTModelSpecAsWritten


def parse_trtmodel(body: Any) -> TRTModel:
    """Parse an object as the API server gives it.

    A status that another version wrote and this one cannot read counts as none: it is only what was once said.

    Raises:
        pydantic.ValidationError: the object is no TRTModel of this version.
    """
    written = TRTModelAsWritten.model_validate({**body, "status": parse_status(body)})
    return TRTModel(metadata=written.metadata, spec=written.spec.as_now(), status=written.status)


def parse_status(body: Any) -> TRTModelStatus:
    """Return an object's status, or an empty one where it cannot be read."""
    try:
        return TRTModelStatus.model_validate(body.get("status") or {})
    except ValidationError:
        return TRTModelStatus()
