"""A small client for tests: the API server as a user with kubectl would see it."""

import base64
import json
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import yaml
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from tftrt_operator.controller.nesting import loads

PATHS = {
    "TRTModel": "/apis/tftrt.dev/v1alpha1/namespaces/{namespace}/trtmodels",
    "Namespace": "/api/v1/namespaces",
    "Node": "/api/v1/nodes",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "Event": "/api/v1/namespaces/{namespace}/events",
    "Secret": "/api/v1/namespaces/{namespace}/secrets",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "PersistentVolumeClaim": "/api/v1/namespaces/{namespace}/persistentvolumeclaims",
    "ResourceQuota": "/api/v1/namespaces/{namespace}/resourcequotas",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "Job": "/apis/batch/v1/namespaces/{namespace}/jobs",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
    "SubjectAccessReview": "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "MutatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
}
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"

Json = dict[str, Any]


class Refused(Exception):  # noqa: N818 - reads as a sentence in tests
    """The API server said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Api:
    """One namespace of a cluster, as its administrator or as somebody whom the administrator impersonates."""

    def __init__(self, client: httpx.Client, namespace: str = "default", user: str = "") -> None:
        self._client = client
        self._user = user
        self.namespace = namespace

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Self:
        config = yaml.safe_load(path.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.TemporaryDirectory() as folder:
            for name in ("client-certificate-data", "client-key-data"):
                (Path(folder) / name).write_bytes(base64.b64decode(user[name]))
            context.load_cert_chain(Path(folder) / "client-certificate-data", Path(folder) / "client-key-data")
        return cls(httpx.Client(base_url=cluster["server"], verify=context, timeout=30))

    def within(self, namespace: str) -> "Api":
        return Api(self._client, namespace, self._user)

    def as_user(self, user: str) -> "Api":
        """The same namespace as somebody else, with no more rights than they have."""
        return Api(self._client, self.namespace, user)

    def path(self, kind: str, name: str = "") -> str:
        path = PATHS[kind].format(namespace=self.namespace)
        return f"{path}/{name}" if name else path

    def request(self, method: str, path: str, body: Json | None = None, content_type: str = "application/json") -> Json:
        response = self._answer(method, path, body, content_type)
        data: Json = loads(response.content)  # as the operator reads it: some tests write what is very deep
        if response.status_code >= 400:
            raise Refused(response.status_code, data.get("message", ""))
        return data

    @retry(
        # As every client of Kubernetes does: a CRD that has just changed is busy for a moment.
        retry=retry_if_result(lambda response: response.status_code == 429),
        stop=stop_after_delay(30),
        wait=wait_fixed(0.2),
    )
    def _answer(self, method: str, path: str, body: Json | None, content_type: str) -> httpx.Response:
        headers = {"Content-Type": content_type} | ({"Impersonate-User": self._user} if self._user else {})
        return self._client.request(method, path, json=body, headers=headers)

    def create(self, body: Json, query: str = "") -> Json:
        return self.request("POST", self.path(body["kind"]) + query, body)

    def create_text(self, kind: str, text: str) -> None:
        """Create an object from JSON that Python's own library would not write."""
        response = self._client.post(self.path(kind), content=text, headers={"Content-Type": "application/json"})
        if response.status_code >= 400:
            raise Refused(response.status_code, response.text)

    def get(self, kind: str, name: str) -> Json:
        return self.request("GET", self.path(kind, name))

    def exists(self, kind: str, name: str) -> bool:
        try:
            self.get(kind, name)
        except Refused as refused:
            if refused.status == 404:
                return False
            raise
        return True

    def list_everywhere(self, kind: str) -> list[Json]:
        items: list[Json] = self.request("GET", PATHS[kind].replace("/namespaces/{namespace}", ""))["items"]
        return items

    def list(self, kind: str, selector: str = "") -> list[Json]:
        items: list[Json] = self.request("GET", f"{self.path(kind)}?labelSelector={selector}")["items"]
        return items

    @contextmanager
    def watch(self, kind: str, seconds: int) -> Iterator[Iterator[Json]]:
        """The events of a kind from now on, as they come, until the API server ends the watch after these seconds."""
        begin = self.request("GET", f"{self.path(kind)}?limit=1")["metadata"]["resourceVersion"]
        query = f"watch=true&resourceVersion={begin}&timeoutSeconds={seconds}"
        with self._client.stream("GET", f"{self.path(kind)}?{query}", timeout=seconds + 10) as response:
            response.raise_for_status()
            yield (json.loads(line) for line in response.iter_lines())

    def patch(self, kind: str, name: str, body: Json, subresource: str = "", manager: str = "kubectl-edit") -> Json:
        path = f"{self.path(kind, name)}{subresource}?fieldManager={manager}"
        return self.request("PATCH", path, body, MERGE)

    def apply(self, body: Json, manager: str = "kubectl") -> Json:
        path = f"{self.path(body['kind'], body['metadata']['name'])}?fieldManager={manager}&force=true"
        return self.request("PATCH", path, body, APPLY)

    def delete(self, kind: str, name: str, propagation: str = "Background") -> None:
        self.request("DELETE", self.path(kind, name), {"propagationPolicy": propagation})
