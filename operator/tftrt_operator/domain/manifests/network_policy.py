"""The NetworkPolicies: who may reach the inference pods, and what these and the Jobs' pods may reach."""

from collections.abc import Iterable
from typing import Any

from ...api.network import NetworkPolicyPeer
from ...api.trtmodel import TRTModel
from ..manifest import Manifest, with_hash
from ..record import EngineRecord
from ..remembered import identity_of, remembered
from ..runtime import Network
from . import names
from .egress import egress

_SAME_NAMESPACE: dict[str, Any] = {"podSelector": {}}


@remembered(lambda model, record, network: (identity_of(model), id(record), id(network)))
def network_policy(model: TRTModel, record: EngineRecord, network: Network) -> Manifest:
    """Return the inference pods' policy: whom the spec names, else the namespace; out to pull the artifact, if at all.

    Probes need no rule: the node of a pod always reaches it.
    """
    asked = model.spec.serving.network_policy
    clients = [_SAME_NAMESPACE] if asked.from_ is None else _written(asked.from_)
    if asked.metrics_from is None:
        scrapers = [_SAME_NAMESPACE, *_written(network.metrics_from)]
    else:
        scrapers = _written(asked.metrics_from)
    spec = {
        "podSelector": {"matchLabels": names.server_selector(model)},
        "ingress": [*_ingress(clients, "http", "grpc"), *_ingress(scrapers, "metrics")],
        "egress": egress([record.summary.artifact], (*asked.egress_ports, *network.egress_ports)),
    }
    return _policy(names.child_metadata(model, names.SERVER), spec)


def jobs_network_policy(
    model: TRTModel, uris: Iterable[str], network: Network, shared_with: Iterable[str] = ()
) -> Manifest:
    """Return the policy of the Jobs' pods, which run the model's graph: nobody reaches them, and they these URIs.

    `shared_with` are the models whose Job makes this one's engine, too: it runs on when they go, and their policy not.
    """
    return _jobs_network_policy(model, tuple(uris), network, tuple(shared_with))


@remembered(lambda model, uris, network, shared_with: (identity_of(model), uris, id(network), shared_with))
def _jobs_network_policy(
    model: TRTModel, uris: tuple[str, ...], network: Network, shared_with: tuple[str, ...]
) -> Manifest:
    selector = {
        "matchLabels": {names.MANAGED_BY: names.OPERATOR},
        "matchExpressions": [
            {"key": names.INSTANCE, "operator": "In", "values": sorted({model.metadata.name, *shared_with})},
            {"key": names.COMPONENT, "operator": "In", "values": [names.CLEANUP, names.CONVERSION]},
        ],
    }
    more = (*model.spec.conversion.network_policy.egress_ports, *network.egress_ports)
    metadata = names.child_metadata(model, names.JOBS, name=names.jobs_policy_name(model))
    return _policy(metadata, {"podSelector": selector, "egress": egress(uris, more)})


def _policy(metadata: dict[str, Any], spec: dict[str, Any]) -> Manifest:
    return with_hash(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": metadata,
            # Both, always: what no rule allows is closed. An empty list is ours, too: what somebody puts into it goes.
            "spec": {"ingress": [], "egress": [], **spec, "policyTypes": ["Ingress", "Egress"]},
        }
    )


def _ingress(peers: list[dict[str, Any]], *ports: str) -> list[dict[str, Any]]:
    """Return the rule that lets peers in; none for nobody, since a rule without peers is one for everybody."""
    if not peers:
        return []
    return [{"from": peers, "ports": [{"port": port, "protocol": "TCP"} for port in ports]}]


def _written(peers: Iterable[NetworkPolicyPeer]) -> list[dict[str, Any]]:
    return [peer.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True) for peer in peers]
