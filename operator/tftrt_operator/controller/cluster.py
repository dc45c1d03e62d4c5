"""The only module that talks to the API server.

Writes are idempotent: names are deterministic, applies are server-side with our field manager, creates that find their
object already there say so.
"""

import math
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import orjson
from kubernetes.aio import client, config
from yarl import URL

from ..api import API_VERSION, PLURAL
from ..domain.manifest import Manifest
from ..domain.manifests import names
from ..domain.observation import Reference
from .metrics import Metrics
from .nesting import lines_of, loads

FIELD_MANAGER = names.OPERATOR
REQUEST_TIMEOUT_SECONDS = 30
ANSWER_SECONDS = 3.0
"""For a word that only tells that somebody is there."""
WATCH_SECONDS = 300
"""After that the API server ends a watch, and the next one goes on at the last bookmark."""
WATCH_SILENCE_SECONDS = 360
PAGE = 500

Namespaces = Sequence[str | None]
"""Where to list and watch."""
EVERYWHERE: Namespaces = (None,)

_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_COLLECTIONS = {
    "TRTModel": f"/apis/{API_VERSION}/namespaces/{{namespace}}/{PLURAL}",
    "Namespace": "/api/v1/namespaces",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "Event": "/api/v1/namespaces/{namespace}/events",
    "PersistentVolumeClaim": "/api/v1/namespaces/{namespace}/persistentvolumeclaims",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases",
    "Job": "/apis/batch/v1/namespaces/{namespace}/jobs",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets",
}


class ApiError(Exception):
    """The API server refused, with its HTTP status and its own words; status 0 where it was not reached."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    items: list[dict[str, Any]]
    resource_version: str
    next_page: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """ADDED, MODIFIED, DELETED or BOOKMARK, and the object."""

    type: str
    object: dict[str, Any]


class Cluster:
    """A connection to one API server."""

    def __init__(self, api: client.ApiClient, metrics: Metrics) -> None:
        self._api = api
        self._proxy = _proxy(api.configuration)
        self._session: aiohttp.ClientSession | None = None
        self._metrics = metrics
        self._writes_end: Callable[[], float] = lambda: math.inf

    @classmethod
    async def connect(cls, metrics: Metrics, watched: int = 1) -> "Cluster":
        """Return a connection by the Pod's service account, or by $KUBECONFIG outside a cluster.

        Args:
            metrics: where requests are counted.
            watched: in how many places every kind is watched.
        """
        configuration = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            await config.load_kube_config(client_configuration=configuration)
        # One for each worker, and the watches that are held open.
        configuration.connection_pool_maxsize = 112 + 16 * watched
        return cls(client.ApiClient(configuration), metrics)

    def stop_writes_at(self, end: Callable[[], float]) -> None:
        """Let no write but a Lease's begin, or go on, after a moment of the monotonic clock that may be put off."""
        self._writes_end = end

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()
        await self._api.close()

    async def get(self, reference: Reference) -> dict[str, Any] | None:
        """Return an object, or None where there is none.

        Raises:
            ApiError: the API server refused for another reason than that.
        """
        return await self._get(reference)

    async def metadata(self, reference: Reference) -> dict[str, Any] | None:
        """Return an object with its metadata alone, or None where there is none.

        Raises:
            ApiError: the API server refused for another reason than that.
        """
        return await self._get(reference, accept=_METADATA)

    async def _get(self, reference: Reference, accept: str = "application/json") -> dict[str, Any] | None:
        try:
            return await self._request("GET", _path(reference), accept=accept)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def serves(self, api_version: str, plural: str) -> bool:
        """Return whether the API server serves a kind.

        Raises:
            ApiError: it refused to say, or was not reached.
        """
        try:
            found = await self._request("GET", f"/apis/{api_version}")
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return any(resource.get("name") == plural for resource in found.get("resources") or ())

    async def create(self, manifest: Manifest) -> dict[str, Any]:
        """Create an object.

        Raises:
            ApiError: refused; status 409 where an object of that name exists.
        """
        return await self._request(
            "POST", _collection(manifest.kind, manifest.namespace), {"fieldManager": FIELD_MANAGER}, manifest.body
        )

    async def apply(self, manifest: Manifest, *, force: bool) -> dict[str, Any]:
        """Apply an object server-side. Without `force`, a field that somebody else set to another value is refused.

        Raises:
            ApiError: refused; status 409 for a conflict.
        """
        try:
            return await self._apply(_path(manifest.reference), manifest.body, force=force)
        except ApiError as error:
            if error.status == 500:
                await self._refuse_what_the_schema_does_not_allow(manifest)
            raise

    async def apply_status(self, reference: Reference, status: Mapping[str, Any]) -> dict[str, Any]:
        """Apply a TRTModel's status.

        Raises:
            ApiError: refused; status 404 or 409 where this very object is gone.
        """
        metadata = {"name": reference.name, "namespace": reference.namespace, "uid": reference.uid}
        body = {"apiVersion": API_VERSION, "kind": reference.kind, "metadata": metadata, "status": dict(status)}
        return await self._apply(_path(reference) + "/status", body, force=True)

    async def patch(self, reference: Reference, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge a patch into an object.

        Raises:
            ApiError: refused; status 409 where the patch names another resource version or UID than the live one.
        """
        return await self._request(
            "PATCH", _path(reference), {"fieldManager": FIELD_MANAGER}, body, "application/merge-patch+json"
        )

    async def delete(self, reference: Reference) -> None:
        """Delete this very object (by UID) and what it owns. One that is gone already is no fault.

        Raises:
            ApiError: refused.
        """
        body: dict[str, Any] = {"propagationPolicy": "Background"}
        if reference.uid is not None:
            body["preconditions"] = {"uid": reference.uid}
        try:
            await self._request("DELETE", _path(reference), body=body)
        except ApiError as error:
            if error.status == 404:
                return
            # The name is another one's by now; whatever else a 409 may tell, what is still there is not gone.
            if error.status != 409 or await self._is_there(reference):
                raise

    async def _is_there(self, reference: Reference) -> bool:
        live = await self.get(reference)
        return live is not None and reference.uid in (None, live["metadata"]["uid"])

    async def create_lease(self, body: Mapping[str, Any]) -> None:
        """Create a Lease, which every replica may.

        Raises:
            ApiError: refused; status 409 where it exists.
        """
        path = _collection("Lease", body["metadata"]["namespace"])
        await self._request("POST", path, {"fieldManager": FIELD_MANAGER}, body, of_any_replica=True)

    async def replace_lease(self, body: Mapping[str, Any]) -> None:
        """Replace a Lease as it was read, which every replica may.

        Raises:
            ApiError: refused; status 409 where it has changed since.
        """
        path = _path(Reference("Lease", body["metadata"]["namespace"], body["metadata"]["name"]))
        await self._request("PUT", path, {"fieldManager": FIELD_MANAGER}, body, of_any_replica=True)

    async def list_page(self, kind: str, selector: str = "", next_page: str = "", namespace: str | None = None) -> Page:
        """Return one page of a namespace's objects of a kind, or of all namespaces', that a label selector selects.

        Raises:
            ApiError: refused; status 410 where a later page has expired.
        """
        query = {"labelSelector": selector, "limit": str(PAGE)} | ({"continue": next_page} if next_page else {})
        data = await self._request("GET", _collection(kind, namespace), query)
        metadata = data.get("metadata") or {}
        if "resourceVersion" not in metadata:
            raise ApiError(200, "Unreadable", f"the answer is no list of {kind}")
        # Items of a list do not say what they are; the list does.
        items = [{**item, "apiVersion": data.get("apiVersion", ""), "kind": kind} for item in data.get("items") or ()]
        return Page(items, metadata["resourceVersion"], metadata.get("continue", ""))

    async def count(self, kind: str, namespace: str | None) -> int:
        """Return how many objects of a kind there are, in a namespace or in all.

        Raises:
            ApiError: refused.
        """
        data = await self._request("GET", _collection(kind, namespace), {"limit": "1"}, accept=_METADATA_LIST)
        return len(data.get("items") or ()) + int((data.get("metadata") or {}).get("remainingItemCount") or 0)

    async def answers(self) -> bool:
        """Return whether there is an API server that answers."""
        try:
            await self._request("GET", "/version", timeout=ANSWER_SECONDS)
        except ApiError as error:
            return error.status not in (0, 502, 503, 504)
        return True

    async def watch(
        self, kind: str, selector: str, resource_version: str, namespace: str | None = None
    ) -> AsyncIterator[WatchEvent]:
        """Yield what happens after a resource version, until the API server ends the watch.

        Raises:
            ApiError: refused; status 410 where the resource version is too old, so that a list is due.
            aiohttp.ClientError, TimeoutError: broken off, or silent for too long; the resource version is still good.
            ValueError, TypeError, KeyError: what came is no event.
        """
        query = {
            "labelSelector": selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=WATCH_SILENCE_SECONDS)
        response = await self._send("GET", _collection(kind, namespace), query, timeout=timeout)
        try:
            if response.status >= 400:
                raise _error(response.status, await response.read())
            async for line in lines_of(response.content.iter_any()):
                event = loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise ApiError(status.get("code", 500), status.get("reason", ""), status.get("message", ""))
                yield WatchEvent(event["type"], event["object"])
        finally:
            response.close()

    async def record_event(self, body: Mapping[str, Any]) -> None:
        """Create an Event; where it exists already, count it once more.

        Raises:
            ApiError: refused.
        """
        metadata = body["metadata"]
        try:
            await self._request(
                "POST", _collection("Event", metadata["namespace"]), {"fieldManager": FIELD_MANAGER}, body
            )
        except ApiError as error:
            if error.status != 409:
                raise
            reference = Reference("Event", metadata["namespace"], metadata["name"])
            live = await self.get(reference)
            if live is None:
                raise  # it has expired in this very moment: the next attempt creates it
            again = {"count": int(live.get("count") or 1) + 1, "lastTimestamp": body["lastTimestamp"]}
            await self.patch(reference, again)

    async def _refuse_what_the_schema_does_not_allow(self, manifest: Manifest) -> None:
        """Ask in another way about an apply that was answered with 500, which may be the manifest's own fault.

        Server-side apply answers so to a field that the schema does not have (seen with kube-apiserver 1.34): by the
        status it cannot be told from a server in trouble. A create that is only tried is decoded, judged and refused
        by status and reason before anyone looks whether the object exists.

        Raises:
            ApiError: the manifest is refused as it is, with status 400 or 422.
        """
        query = {"fieldManager": FIELD_MANAGER, "dryRun": "All", "fieldValidation": "Strict"}
        try:
            await self._request("POST", _collection(manifest.kind, manifest.namespace), query, manifest.body)
        except ApiError as error:
            if error.status in (400, 422):
                raise

    async def _apply(self, path: str, body: Mapping[str, Any], *, force: bool) -> dict[str, Any]:
        query = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
        return await self._request("PATCH", path, query, body, "application/apply-patch+yaml")

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float | None = None,
        of_any_replica: bool = False,
    ) -> dict[str, Any]:
        within = REQUEST_TIMEOUT_SECONDS if timeout is None else timeout
        if method != "GET" and not of_any_replica:
            within = min(within, self._writes_end() - time.monotonic())
            if within <= 0:
                raise ApiError(0, "NotLeading", "this replica does not hold the Lease, and writes nothing")
        try:
            response = await self._send(method, path, query, body, content_type, within, accept)
            try:
                content = await response.read()
            finally:
                response.release()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{type(error).__name__}: {error}") from error
        if response.status >= 400:
            raise _error(response.status, content)
        try:
            result = loads(content)
        except ValueError as error:
            raise ApiError(response.status, "Unreadable", f"the answer is no JSON: {error}") from error
        if not isinstance(result, dict):
            raise ApiError(response.status, "Unreadable", f"the answer is no object: {content[:100]!r}")
        return result

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        timeout: Any = None,
        accept: str = "application/json",
    ) -> aiohttp.ClientResponse:
        # Of the Kubernetes client only what reads a kubeconfig or a service account, and renews tokens. Its typed
        # models would cost 30 MiB and most of the time of a request, and its session two hops to a thread for each.
        configuration = self._api.configuration
        headers = {"Content-Type": content_type, "Accept": accept, "User-Agent": FIELD_MANAGER}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
        url = f"{configuration.host}{path}?{urlencode(query)}" if query else f"{configuration.host}{path}"
        within = timeout if isinstance(timeout, aiohttp.ClientTimeout) else aiohttp.ClientTimeout(total=timeout)
        code = 0
        try:
            response = await self._http().request(
                method,
                URL(url, encoded=True),
                data=None if body is None else orjson.dumps(body),
                headers=headers,
                timeout=within,
                proxy=self._proxy,
                server_hostname=configuration.tls_server_name or None,
            )
            code = response.status
        finally:
            self._metrics.requested(method, code)
        return response

    def _http(self) -> aiohttp.ClientSession:
        """Return the session, which is made in the event loop that it is used in."""
        if self._session is None:
            rest = self._api.rest_client
            # Not `trust_env`, for which aiohttp looks in another thread for proxies and passwords at each request.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=rest.maxsize, ssl=rest.ssl_context), read_bufsize=2**21
            )
        return self._session


def _proxy(configuration: client.Configuration) -> str | None:
    """Return the proxy on the way to the API server: a kubeconfig's, or the environment's as of now."""
    if configuration.proxy:
        return str(configuration.proxy)
    address = urlsplit(configuration.host)
    if address.hostname is None or urllib.request.proxy_bypass(address.netloc):
        return None
    return urllib.request.getproxies().get(address.scheme)


def _collection(kind: str, namespace: str | None) -> str:
    path = _COLLECTIONS[kind]
    return path.replace("/namespaces/{namespace}", "") if namespace is None else path.format(namespace=namespace)


def _path(reference: Reference) -> str:
    # Names come from owner references, too, which nobody holds to the rules for names.
    return f"{_collection(reference.kind, reference.namespace)}/{quote(reference.name, safe='')}"


def _error(status: int, content: bytes) -> ApiError:
    try:
        data = loads(content)
    except ValueError:
        data = None
    if not isinstance(data, dict):  # a proxy's words
        return ApiError(status, "", content[:500].decode(errors="replace"))
    return ApiError(status, str(data.get("reason") or ""), str(data.get("message") or ""))
