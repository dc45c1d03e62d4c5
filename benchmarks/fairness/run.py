"""One run: a control plane, an operator, an honest namespace, and a hostile one or none."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.build import Build
from tests.cluster import Cluster
from tests.cluster.waiting import wait_for
from tests.support.api import Api, Refused
from tests.support.trtmodels import trtmodel

from .calls import Pressure
from .webhook import WRITE_SECONDS, SlowWebhook, slow_webhook

INSTANCE = 4
HONEST, HOSTILE = "honest", "hostile"
HOSTILE_MODELS = 64
LONGEST_WAIT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured: for each model the seconds until its Job, or None where it was waited for in vain."""

    setting: "Setting"
    seconds: tuple[float | None, ...]
    pressure: Pressure | None


@dataclass(frozen=True, slots=True)
class Setting:
    """What is to be measured: `models` of the honest namespace, beside the hostile one or by themselves."""

    name: str
    build: Build
    hostile: bool
    models: int

    @property
    def sentence(self) -> str:
        """What this is, for a person who waits."""
        beside = f"beside {HOSTILE_MODELS} hostile ones" if self.hostile else "with nothing else"
        return f"{self.name} ({self.build.commit}): {self.models} honest models {beside}"

    def run(self) -> Run:
        """Measure it, on a control plane that nothing was on before.

        Raises:
            RuntimeError, TimeoutError: a part does not come up, or the hostile namespace is not hostile.
        """
        with (
            _control_plane(self.build) as cluster,
            slow_webhook(cluster.layout.host_address) as webhook,
            self.build.running(cluster.kubeconfig),
        ):
            admin = Api.from_kubeconfig(cluster.kubeconfig)
            for namespace in (HONEST, HOSTILE):
                admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            admin.create(webhook.configuration(HOSTILE))
            wait_for("the webhook is in force", lambda: _is_in_force(admin.within(HOSTILE)), 30)
            # The watch keeps its connection: with one client for both, each creation would begin with a handshake.
            honest, watching = admin.within(HONEST), Api.from_kubeconfig(cluster.kubeconfig).within(HONEST)
            if _seconds_until_job(honest, watching, "first") is None:  # not counted: it opens connections
                raise RuntimeError("the operator made no Job while nothing hindered it")
            if self.hostile:
                _besiege(admin.within(HOSTILE), webhook)
            began = time.perf_counter()
            seconds = tuple(
                _seconds_until_job(honest, watching, f"honest-{number:03}") for number in range(self.models)
            )
            pressure = webhook.calls.pressure(began, time.perf_counter()) if self.hostile else None
            if written := len(admin.within(HOSTILE).list("Job")):
                raise RuntimeError(f"{written} Jobs of the hostile namespace came past the webhook")
            return Run(self, seconds, pressure)


@contextmanager
def _control_plane(build: Build) -> Iterator[Cluster]:
    cluster = Cluster(INSTANCE)
    cluster.down(purge=True)  # what an earlier run may have left
    try:
        cluster.up(control_plane_only=True)
        cluster.install_crds(build.folder / "crds")
        yield cluster
    finally:
        cluster.down(purge=True)


def _is_in_force(hostile: Api) -> bool:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "probe"}, "spec": {"template": template}}
    try:
        hostile.create(job, "?dryRun=All")
    except Refused as refused:
        if refused.status == 500 and "not today" in refused.message:
            return True
        raise
    return False


def _besiege(hostile: Api, webhook: SlowWebhook) -> None:
    """Create the hostile models, and wait until the Job of each has been refused or is about to be."""
    names = {f"hostile-{number:02}" for number in range(HOSTILE_MODELS)}
    for name in sorted(names):
        hostile.create(_model(name))
    longest = 2 * HOSTILE_MODELS * WRITE_SECONDS  # twice what it takes one at a time
    wait_for("each hostile model has come to the webhook", lambda: webhook.calls.models() >= names, longest)


def _seconds_until_job(honest: Api, watching: Api, name: str) -> float | None:
    """Create a model; returns the seconds until a watch tells of its Job, or None where it does not in time."""
    with watching.watch("Job", LONGEST_WAIT_SECONDS) as events:
        began = time.perf_counter()
        honest.create(_model(name))
        for event in events:
            owners = event["object"]["metadata"].get("ownerReferences", [])
            if event["type"] == "ADDED" and any(owner["name"] == name for owner in owners):
                return time.perf_counter() - began
    return None


def _model(name: str) -> dict[str, object]:
    # A source of its own: models that ask for one engine share a Job.
    return trtmodel(name, source={"uri": f"pvc://models/{name}"})
