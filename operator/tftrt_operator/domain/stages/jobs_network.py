"""What the pods of a model's Jobs may reach: settled before any of them is there."""

from collections.abc import Iterable
from dataclasses import replace

from ...api.network import NetworkPolicyMode
from ...api.trtmodel import TRTModel
from ..drift import drift
from ..manifests import names
from ..manifests.network_policy import jobs_network_policy
from ..observation import Observation, Reference
from ..runtime import Network
from ..step import Step, Writes
from ..verdict import Verdict


def jobs_network(
    model: TRTModel, uris: Iterable[str], network: Network, observation: Observation, *, runs: bool
) -> Writes:
    """Return the writes that leave the model's Jobs their NetworkPolicy.

    It is made for the first Job (`runs` says whether one may run), and stays: the next one finds it.
    """
    live = observation.child("NetworkPolicy", names.jobs_policy_name(model))
    if live is not None and live.deleting:
        return Writes()  # its last event brings us back
    if model.spec.conversion.network_policy.mode is NetworkPolicyMode.UNMANAGED:
        gone = () if live is None else (Reference(live.kind, model.metadata.namespace, live.name, live.uid),)
        return Writes(deletes=gone)
    if live is None and not runs:
        return Writes()
    uid = model.metadata.uid
    shared = tuple(
        job.instance for job in observation.jobs if job.instance and any(one.uid == uid for one in job.owners)
    )
    policy = jobs_network_policy(model, uris, network, shared)
    conceded = observation.concessions.get((policy.kind, policy.name))
    if live is not None and not drift(policy, live.body, conceded):
        return Writes()
    return Writes(prerequisites=(policy,))


def held_for_network(model: TRTModel, step: Step, observation: Observation) -> Step:
    """Return the step without its new Jobs while their NetworkPolicy is being deleted: they would outlive it."""
    live = observation.child("NetworkPolicy", names.jobs_policy_name(model))
    if live is None or not live.deleting or model.spec.conversion.network_policy.mode is NetworkPolicyMode.UNMANAGED:
        return step
    others = tuple(manifest for manifest in step.writes.creates if manifest.kind != "Job")
    if others == step.writes.creates:
        return step
    waits = f"waiting for NetworkPolicy {live.name}, which is being deleted, to go"
    verdict = Verdict(step.verdict.standing, step.verdict.reason, waits)
    return replace(step, verdict=verdict, writes=replace(step.writes, creates=others))
