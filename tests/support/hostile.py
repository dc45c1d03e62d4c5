"""A tenant who does everything at once that an operator could be hurt by, in namespaces of its own.

What it writes is harmless to the API server and to the node: few of its pods ever run. All of it is there for as long
as the context lasts, and gone after it, with the CRD and the webhooks as they were, whatever happened within.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx

from tests.cluster import Cluster

from .admission import Webhook, patching, webhook
from .api import Api, Json, Refused
from .trtmodels import conditions, job_names, message, trtmodel
from .waiting import eventually

CRD = "trtmodels.tftrt.dev"
MANAGED = {"app.kubernetes.io/managed-by": "tftrt-operator"}
SLOW_MODELS = 64
SLOW_SECONDS = 10.0
DELETED_MODELS = 20
DEPTHS = (900, 3000)
LONG_WORD = "word" * 10_000
NO_NODE = {"requests": {"cpu": "1000"}}
NOWHERE = {"source": {"uri": "pvc://nowhere/x"}, "artifacts": {"uri": "pvc://nowhere/store"}}
"""A claim that does not exist: whatever is made of it never gets to the node."""

REFUSED: list[tuple[Json, str]] = [
    ({"conversion": {"maxWorkspaceSize": "1e999999"}}, "spec.conversion.maxWorkspaceSize"),
    ({"gpu": {"memory": "1" * 33}}, "may not be"),
    ({"serving": {"resources": {"limits": {"memory": "1e999999"}}}}, "spec.serving.resources.limits"),
    ({"serving": {"replicas": 10**30}}, "spec.serving.replicas"),
    ({"conversion": {"deadlineSeconds": -(10**18)}}, "should be greater than or equal to 60"),
    ({"verification": {"minSpeedup": "9" * 5000}}, "spec.verification.minSpeedup"),
    ({"source": {"uri": f"pvc://models/{LONG_WORD}"}}, "spec.source.uri"),
    ({"pods": {"annotations": {"text": LONG_WORD}}}, "spec.pods.annotations"),
    *(
        ({"serving": {"pods": {"labels": {key: "tiny"}}}}, "controllers know their pods by them")
        for key in ("app.kubernetes.io/instance", "tftrt.dev/engine", "batch.kubernetes.io/job-name", "job-name")
    ),
]
"""What the CRD does not admit, and words of its refusal."""

UNREADABLE: dict[str, Json] = {
    "size": {"conversion": {"maxWorkspaceSize": "1e999999"}},
    "memory": {"gpu": {"memory": "9" * 40_000}},
    "retries": {"conversion": {"retries": 10**30}},
    "batches": {"conversion": {"maxBatchSize": -(10**18), "batchSizes": [2**62] * 1000}},
    "words": {"serving": {"pods": {"annotations": {"text": LONG_WORD}}}},
    "address": {"source": {"uri": f"pvc://models/{LONG_WORD}"}},
    "kinds": {"source": 7, "conversion": "many"},
}
"""What a CRD without bounds admits, by the name of the model."""


class Hostile:
    """What the tenant has, and what it has been up to."""

    def __init__(self, cluster: Cluster) -> None:
        suffix = uuid.uuid4().hex[:8]
        self.cluster = cluster
        self.admin = Api.from_kubeconfig(cluster.kubeconfig)
        self.api = self.admin.within(f"hostile-{suffix}")
        self.without_pods = self.admin.within(f"hostile-quota-{suffix}")
        self.asked: Counter[str] = Counter()
        """How often the slow webhook was asked, by model."""
        self.acts: Counter[str] = Counter()
        """How often the tenant did what it does again and again."""
        self.over = threading.Event()

    def create_namespaces(self) -> None:
        for api in (self.api, self.without_pods):
            self.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": api.namespace}})

    def is_told(self, name: str, kind: str, reason: str, words: str) -> bool:
        """Whether a model's condition is true for this reason, and says these words."""
        return conditions(self.api, name).get(kind) == ("True", reason) and words in message(self.api, kind, name)

    def create_what_is_refused(self) -> None:
        """Ask for what the CRD does not admit, and have it say why."""
        for spec, words in REFUSED:
            try:
                self.api.create(trtmodel("refused", **spec))
            except Refused as refused:
                assert refused.status == 422
                assert words in refused.message, refused.message[:500]
            else:
                raise AssertionError(f"it was admitted, though not for {words!r}")

    def create_what_an_older_crd_admitted(self) -> None:
        """Create what cannot be read while the CRD bounds nothing; the bounds come back at once."""
        with self._without_bounds():
            for name, spec in UNREADABLE.items():
                self.api.create(trtmodel(name, **spec))

    @contextmanager
    def _without_bounds(self) -> Iterator[None]:
        probe = trtmodel("probe", **UNREADABLE["kinds"])
        versions = self.admin.get("CustomResourceDefinition", CRD)["spec"]["versions"]
        anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        properties = versions[0]["schema"]["openAPIV3Schema"]["properties"]
        loose = {**versions[0]["schema"]["openAPIV3Schema"], "properties": {**properties, "spec": anything}}
        try:
            self._set_versions([{**versions[0], "schema": {"openAPIV3Schema": loose}}, *versions[1:]])
            # The API server takes a moment to serve another schema.
            eventually(lambda: _is_admitted(self.api, probe))
            yield
        finally:
            self._set_versions(versions)
            eventually(lambda: not _is_admitted(self.api, probe))

    def _set_versions(self, versions: list[Json]) -> None:
        # By Helm's name, whose CRD it is: nobody else is to own a field of it afterwards.
        self.admin.patch("CustomResourceDefinition", CRD, {"spec": {"versions": versions}}, manager="helm")

    def create_what_is_deep(self) -> None:
        for levels in DEPTHS:
            name = f"deep-{levels}"
            affinity = '{"a":' * levels + "1" + "}" * levels
            spec = f'{{"source": {{"uri": "pvc://nowhere/x"}}, "serving": {{"affinity": {affinity}}}}}'
            head = '"apiVersion": "tftrt.dev/v1alpha1", "kind": "TRTModel"'
            self.api.create_text("TRTModel", f'{{{head}, "metadata": {{"name": "{name}"}}, "spec": {spec}}}')
            fields = '{"f:a":' * levels + "{}" + "}" * levels
            manager = f'"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsV1": {fields}'
            managed = f'[{{{manager}, "fieldsType": "FieldsV1"}}]'
            labels = '{"app.kubernetes.io/managed-by": "tftrt-operator"}'
            metadata = f'{{"name": "{name}", "labels": {labels}, "managedFields": {managed}}}'
            self.api.create_text("ConfigMap", f'{{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {metadata}}}')

    def create_what_is_not_ours(self) -> None:
        """Create objects with our labels that hold nonsense, and one that is very long."""
        claims = {"app.kubernetes.io/component": "server", "app.kubernetes.io/instance": "tiny"}
        deep = "[" * 50_000
        container = {"name": "c", "image": "nowhere.example/i"}
        pod = {"restartPolicy": "Never", "nodeSelector": {"no": "node"}, "containers": [container]}
        task = {"annotations": {"tftrt.dev/spec": deep, "tftrt.dev/template": "[]"}}
        owner = {"apiVersion": "tftrt.dev/v0", "kind": "TRTModel", "name": "n" * 253, "uid": "0", "controller": True}
        engine = {"app.kubernetes.io/component": "conversion", "tftrt.dev/engine": "nonsense", "tftrt.dev/evidence": ""}
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": "tftrt-nonsense",
                "labels": MANAGED | engine,
                "annotations": {"tftrt.dev/deletes": "," * 10_000 + "x"},
                "ownerReferences": [owner],
            },
            "spec": {"suspend": True, "template": {"metadata": task, "spec": pod}},
        }
        self.api.create(job)
        job_name = {"batch.kubernetes.io/job-name": "tftrt-nonsense"}
        metadata: Json = {"name": "tftrt-nonsense", "labels": MANAGED | claims | job_name, **task}
        self.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})
        selector = {"matchLabels": {"app": "nonsense"}}
        template = {
            "metadata": {**task, "labels": {"app": "nonsense"}},
            "spec": {"containers": [container], "nodeSelector": {"no": "node"}},
        }
        deployment = {"replicas": 0, "selector": selector, "template": template}
        metadata = {"name": "tftrt-nonsense", "labels": MANAGED | claims}
        self.api.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment})
        for number, text in enumerate(("[]", "7", deep, "9" * 6000, '{"version": 1, "inputs": []}', "\\ud800")):
            self._create_record(f"tftrt-{number:020}", text)
        self._create_record("long", "<" * 800_000)

    def _create_record(self, name: str, text: str) -> None:
        metadata = {"name": name, "labels": MANAGED}
        self.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"record.json": text}})

    def create_twins(self) -> None:
        """Create three models for one engine, the first of which asks for what no node has."""
        source = {"uri": "pvc://models/text"}
        self._create("twin-0", source=source, conversion={"resources": NO_NODE})
        eventually(lambda: [name for name in job_names(self.api) if name.startswith("twin-0-")])
        for name in ("twin-1", "twin-2"):
            self._create(name, source=source)

    def create_the_wordy(self) -> None:
        """Create what the CRD admits: texts as long as there is room for, numbers of thousands of digits."""
        texts = {f"text-{number}": "word" * 1000 for number in range(10)}
        metrics = [{"type": LONG_WORD, "resource": {"name": LONG_WORD, "target": {"averageUtilization": 10**18}}}]
        serving = {
            "pods": {"annotations": texts, "affinity": {"nodeAffinity": {LONG_WORD: LONG_WORD}}},
            "autoscaling": {"maxReplicas": 1000, "metrics": metrics},
        }
        self._create("wordy", annotations={"tftrt.dev/retry": LONG_WORD}, **NOWHERE, serving=serving)
        absent: Json = {"source": {"uri": "pvc://models/absent"}}
        self._create("absent", annotations={"tftrt.dev/retry": "7" * 5000}, **absent)
        absent = {"source": {"uri": "pvc://models/absent", "revision": "2"}}
        self._create("absent-too", annotations={"tftrt.dev/retry": "\u0667" * 5000}, **absent)

    def create_the_imitator(self) -> None:
        """Create a model that is served; its pods say of themselves that they are a Job's and a Service's of others."""
        labels = {"app": "tiny", "instance": "tiny", "component": "server", "statefulset": ""}
        self._create("imitator", source={"uri": "pvc://models/tiny"}, serving={"pods": {"labels": labels}})

    def create_what_has_no_room(self) -> None:
        """Create models where a quota has no room for a single pod."""
        hard = {"pods": "0"}
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": hard}}
        self.without_pods.create(quota)
        eventually(lambda: self.without_pods.get("ResourceQuota", "none").get("status", {}).get("hard") == hard)
        for number in range(3):
            self.without_pods.create(trtmodel(f"roomless-{number}", source={"uri": f"pvc://nowhere/{number}"}))

    def create_and_delete_many(self) -> None:
        """Create models whose artifacts are to go with them, and delete them all at once; their store is nowhere."""
        names = [f"gone-{number:02}" for number in range(DELETED_MODELS)]
        store = {"uri": "pvc://nowhere/store", "deletionPolicy": "Delete"}
        for name in names:
            self._create(name, source={"uri": f"pvc://nowhere/{name}"}, artifacts=store)
        eventually(lambda: set(names) <= {job.rsplit("-", 2)[0] for job in job_names(self.api)}, seconds=60)
        for name in names:
            self.api.delete("TRTModel", name)

    def create_the_slow(self) -> None:
        """Create models whose Jobs the webhook takes its time over, and wait until the operator waits for it."""
        for number in range(SLOW_MODELS):
            self._create(f"slow-{number:02}", source={"uri": f"pvc://nowhere/slow-{number}"})
        eventually(lambda: self.asked)

    def _create(self, name: str, annotations: Json | None = None, **spec: Any) -> None:
        model = trtmodel(name, **spec)
        model["metadata"]["annotations"] = annotations or {}
        self.api.create(model)

    def review(self, request: Json) -> Json:
        """Answer the API server: each Deployment is changed, and Jobs of some models are refused after a while."""
        if request["kind"]["kind"] == "Deployment":
            return patching({"op": "replace", "path": "/spec/template/spec/terminationGracePeriodSeconds", "value": 7})
        owners = request["object"]["metadata"].get("ownerReferences") or [{"name": ""}]
        if (model := owners[0]["name"]).startswith("slow-"):
            self.asked[model] += 1
            self.over.wait(SLOW_SECONDS)
            # A code at which the operator tries again.
            return {"allowed": False, "status": {"code": 500, "message": "not today"}}
        return {"allowed": True}

    def webhooks(self, server: Webhook) -> list[Json]:
        """Return a webhook that is slow, one that changes things, and one that is down."""
        namespace = self.api.namespace
        down = Webhook("https://127.0.0.1:9/validate", server.certificate)
        validating, mutating = "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"
        return [
            server.configuration(validating, "slow", namespace, _rule("batch", "jobs", "CREATE"), 30),
            server.configuration(mutating, "changing", namespace, _rule("apps", "deployments", "CREATE", "UPDATE")),
            down.configuration(validating, "down", namespace, _rule("", "events", "CREATE")),
        ]

    def touch_the_long_one(self) -> None:
        self.acts["a label on the long ConfigMap"] += 1
        label = {"touched": str(self.acts["a label on the long ConfigMap"])}
        self.api.patch("ConfigMap", "long", {"metadata": {"labels": label}})

    def create_and_delete_one(self) -> None:
        self._create("restless", **NOWHERE)
        self.over.wait(0.5)
        self.api.delete("TRTModel", "restless")
        self.acts["a model created and deleted"] += 1

    @contextmanager
    def doing(self, act: Callable[[], None], seconds: float) -> Iterator[None]:
        """Have the tenant do something at its own rhythm."""

        def again_and_again() -> None:
            while not self.over.wait(seconds):
                # An API server that has much to do may refuse or be late: the next time counts.
                with suppress(Refused, httpx.HTTPError):
                    act()

        thread = threading.Thread(target=again_and_again, name=act.__name__, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            thread.join()

    def delete_namespaces(self) -> None:
        """Delete all that the tenant has; nobody asks its servers any more."""
        names = [self.api.namespace, self.without_pods.namespace]
        self.cluster.kubectl("delete", "namespace", *names, "--ignore-not-found", "--wait=false")
        for name in names:
            # Jobs first: their controller, which may make no pods any more, takes half a minute to let the last go.
            for kind in ("jobs", "pods"):
                self.cluster.kubectl("--namespace", name, "delete", kind, "--all", "--grace-period=0", "--force")
        try:
            eventually(lambda: not _there(self.admin, names), seconds=90)
        except AssertionError:
            # An operator that does not do its part must not leave the namespaces to the tests that follow.
            for api in (self.api, self.without_pods):
                for model in api.list("TRTModel"):
                    with suppress(Refused):
                        api.patch("TRTModel", model["metadata"]["name"], {"metadata": {"finalizers": None}})
            raise
        finally:
            self.cluster.release_volumes()


@contextmanager
def besieged(cluster: Cluster, furnish: Callable[[str], object]) -> Iterator[Hostile]:
    """The hostile tenant with everything at once. `furnish` gives a namespace the claim with the sources."""
    hostile = Hostile(cluster)
    with ExitStack() as stack:
        server = stack.enter_context(webhook(cluster.layout.host_address, hostile.review))
        stack.callback(hostile.delete_namespaces)
        hostile.create_namespaces()
        for body in hostile.webhooks(server):
            hostile.admin.create(body)
            stack.callback(hostile.admin.delete, body["kind"], body["metadata"]["name"])
        stack.callback(hostile.over.set)
        furnish(hostile.api.namespace)
        hostile.create_the_imitator()
        hostile.create_the_wordy()
        hostile.create_what_is_refused()
        hostile.create_what_an_older_crd_admitted()
        hostile.create_what_is_deep()
        hostile.create_what_is_not_ours()
        hostile.create_what_has_no_room()
        hostile.create_twins()
        hostile.create_and_delete_many()
        stack.enter_context(hostile.doing(hostile.touch_the_long_one, 1))
        stack.enter_context(hostile.doing(hostile.create_and_delete_one, 0.5))
        yield hostile


def _rule(group: str, resource: str, *operations: str) -> Json:
    return {"apiGroups": [group], "apiVersions": ["v1"], "operations": list(operations), "resources": [resource]}


def _is_admitted(api: Api, body: Json) -> bool:
    try:
        api.create(body, "?dryRun=All")
    except Refused as refused:
        if refused.status == 422:
            return False
        raise
    return True


def _there(admin: Api, namespaces: list[str]) -> list[str]:
    return [name for name in namespaces if admin.exists("Namespace", name)]
