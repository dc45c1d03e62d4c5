"""kopf's decorators and nothing else: they start the reconciler, feed it, and answer probes."""

import asyncio
from typing import Any

import kopf

from .. import api
from ..domain.runtime import Catalogue
from .cluster import PAGE, Cluster
from .health import Health, UnhealthyError
from .wait_for_crd import wait_until_served
from .worker import Workers


def register(registry: kopf.OperatorRegistry, catalogue: Catalogue) -> None:
    """Put the operator's handlers into kopf's registry."""

    @kopf.on.login(registry=registry)
    def log_in(**context: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**context) or kopf.login_with_kubeconfig(**context)

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, memo: Any, **_: Any) -> None:
        settings.posting.enabled = False  # the reconciler writes the Events
        # kopf looks for its resources once: by then the CRD has to be there. Were scanning on, it would look again at
        # each change of a CRD; but the last of them comes before discovery serves the new kind (seen with 1.45.2).
        settings.scanning.disabled = True
        settings.watching.chunk_size = PAGE
        settings.queueing.idle_timeout = 1.0
        memo.cluster = await Cluster.connect()
        await wait_until_served(memo.cluster)
        memo.workers = Workers(memo.cluster, catalogue)
        memo.health = Health(memo.workers)
        memo.task = asyncio.create_task(memo.workers.run())
        memo.task.add_done_callback(memo.health.reconciler_ended)

    @kopf.on.cleanup(registry=registry)
    async def stop(memo: Any, **_: Any) -> None:
        memo.task.cancel()
        await asyncio.gather(memo.task, return_exceptions=True)
        await memo.cluster.close()

    @kopf.on.event(api.GROUP, api.VERSION, api.PLURAL, registry=registry)
    async def see(event: kopf.RawEvent, memo: Any, **_: Any) -> None:
        body = event["object"]
        if event["type"] == "DELETED":
            metadata = body["metadata"]
            memo.workers.caches.forget_model((metadata["namespace"], metadata["name"]), metadata["uid"])
        else:
            memo.workers.caches.see_model(body)

    @kopf.on.probe(registry=registry, id="healthy")
    async def probe(memo: Any, **_: Any) -> str:
        try:
            return str(memo.health.check())
        except UnhealthyError as error:
            # Any other exception would be retried while the kubelet waits for the answer.
            raise kopf.PermanentError(str(error)) from error
