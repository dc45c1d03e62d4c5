"""Who may reach a model's pods, and what they may reach."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from .kubernetes import KEY_SENTENCE, LABEL_VALUE_PATTERN, VALUE_SENTENCE, LabelMap, LabelValue, label_key_rule
from .schema import ApiModel, list_type, rules

Port = Annotated[int, Field(ge=1, le=65535)]
EgressPorts = Annotated[tuple[Port, ...], Field(max_length=16, json_schema_extra=list_type("set"))]
_IS_CIDR = rules(("isCIDR(self)", "must be an IP range such as 10.0.0.0/8 or fd00::/8"))
Cidr = Annotated[str, Field(max_length=43, json_schema_extra=_IS_CIDR)]


class NetworkPolicyMode(StrEnum):
    """Whose the NetworkPolicy is."""

    MANAGED = "Managed"
    UNMANAGED = "Unmanaged"


class LabelSelectorRequirement(ApiModel):
    """A condition on one label."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
                "In and NotIn need values, Exists and DoesNotExist take none",
            ),
            (label_key_rule("self.key")[0], f"key {KEY_SENTENCE}"),
            (
                f"!has(self.values) || self.values.all(value, value.matches('{LABEL_VALUE_PATTERN}'))",
                f"each of values {VALUE_SENTENCE}",
            ),
        )
    }

    key: str = Field(min_length=1, max_length=317, description="The label's key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How it is compared.")
    values: tuple[LabelValue, ...] = Field(
        default=(), max_length=32, description="What it is compared with.", json_schema_extra=list_type("atomic")
    )


class LabelSelector(ApiModel):
    """Everything with these labels; an empty one selects all."""

    match_labels: LabelMap = Field(default_factory=dict, description="Labels that it must have.")
    match_expressions: tuple[LabelSelectorRequirement, ...] = Field(
        default=(),
        max_length=16,
        description="Conditions that must hold.",
        json_schema_extra=list_type("atomic"),
    )


class IPBlock(ApiModel):
    """A range of IP addresses."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "!has(self.except) || !isCIDR(self.cidr) || self.except.all(part, !isCIDR(part)"
                " || (cidr(self.cidr).containsCIDR(part)"
                " && cidr(part).prefixLength() > cidr(self.cidr).prefixLength()))",
                "except must lie within cidr, and be smaller",
            )
        )
    }

    cidr: Cidr = Field(description="The range.")
    except_: tuple[Cidr, ...] = Field(
        default=(),
        alias="except",
        max_length=16,
        description="Ranges within it that are left out.",
        json_schema_extra=list_type("atomic"),
    )


class NetworkPolicyPeer(ApiModel):
    """Pods, or a range of IP addresses, as in networking.k8s.io/v1."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "has(self.podSelector) || has(self.namespaceSelector) || has(self.ipBlock)",
                "must have a podSelector, a namespaceSelector, both, or an ipBlock",
            ),
            (
                "!has(self.ipBlock) || (!has(self.podSelector) && !has(self.namespaceSelector))",
                "an ipBlock stands alone: addresses have no labels",
            ),
        )
    }

    pod_selector: LabelSelector | None = Field(
        default=None, description="Pods: of this namespace, or of those that namespaceSelector selects."
    )
    namespace_selector: LabelSelector | None = Field(default=None, description="Namespaces, by their labels.")
    ip_block: IPBlock | None = Field(default=None, description="Addresses of what is no pod.")


_NOT_EMPTY = rules(
    (
        "self.size() > 0",
        "must not be empty: leave it out for the default, or name everybody as"
        " {ipBlock: {cidr: 0.0.0.0/0}} and {namespaceSelector: {}}",
    )
)
Peers = Annotated[
    tuple[NetworkPolicyPeer, ...], Field(max_length=16, json_schema_extra=list_type("atomic") | _NOT_EMPTY)
]


def _mode(owner: str) -> Any:
    return Field(
        default=NetworkPolicyMode.MANAGED,
        description=f"Unmanaged: the operator makes no NetworkPolicy for {owner}, and deletes the one that it made.",
    )


class ServerNetworkPolicy(ApiModel):
    """The NetworkPolicy of the inference pods."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "self.mode != 'Unmanaged' || (!has(self.from) && !has(self.metricsFrom) && !has(self.egressPorts))",
                "mode Unmanaged takes nothing else: there is no NetworkPolicy that it could be in",
            )
        )
    }

    mode: NetworkPolicyMode = _mode("the inference pods")
    from_: Peers | None = Field(
        default=None,
        alias="from",
        description="Who may ask for predictions. Default: the pods of this namespace.",
    )
    metrics_from: Peers | None = Field(
        default=None,
        description="Who may read the metrics."
        " Default: the pods of this namespace, and whom the operator's configuration names.",
    )
    egress_ports: EgressPorts = Field(
        default=(),
        description="More TCP ports to pull the artifact through, beside 443 and those of the operator's configuration:"
        " the port of the store's endpoint or of a proxy.",
    )


class JobNetworkPolicy(ApiModel):
    """The NetworkPolicy of the conversion and cleanup Jobs."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "self.mode != 'Unmanaged' || !has(self.egressPorts)",
                "mode Unmanaged takes no egressPorts: there is no NetworkPolicy that they could be in",
            )
        )
    }

    mode: NetworkPolicyMode = _mode("the Jobs")
    egress_ports: EgressPorts = Field(
        default=(),
        description="More TCP ports to reach source, data and store through, beside those of their URIs and of the"
        " operator's configuration: the port of a store's endpoint or of a proxy.",
    )
