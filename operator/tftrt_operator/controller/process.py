"""The operator as a process: what runs in it, and how it ends."""

import asyncio
import signal
import socket
import uuid

from ..config import Configuration
from .cluster import EVERYWHERE, Cluster
from .health import Health
from .leadership import Leadership
from .metrics import Metrics
from .model_watch import ModelWatch
from .worker import Workers


class EndedByItselfError(Exception):
    """A part ended that runs for ever: a new process is better than one that does half of its work."""


async def run(configuration: Configuration, health_port: int, lease: tuple[str, str] | None = None) -> None:
    """Run until a signal ends the process.

    Args:
        configuration: what the administrator has decided.
        health_port: where probes are answered.
        lease: namespace and name of the Lease that replicas share; None where this is the only one.

    Raises:
        EndedByItselfError: a part ended without a signal.
    """
    namespaces = configuration.watch_namespaces or EVERYWHERE
    metrics = Metrics()
    cluster = await Cluster.connect(metrics, len(namespaces))
    # A container that was started again has its Pod's name still, and is another holder.
    leadership = Leadership(cluster, lease, f"{socket.gethostname()}_{uuid.uuid4()}")
    cluster.stop_writes_at(lambda: leadership.writes_end)
    workers = Workers(cluster, configuration.catalogue, metrics, namespaces)
    metrics.watch(lambda: workers.now)
    watches = [ModelWatch(cluster, workers.caches, namespace) for namespace in namespaces]
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        async with Health(cluster, workers, watches, leadership, metrics).answering(health_port):
            parts = [
                asyncio.create_task(workers.run(), name="workers"),
                *(asyncio.create_task(watch.run(), name="watch of TRTModels") for watch in watches),
                asyncio.create_task(_lead(leadership, workers), name="leadership"),
            ]
            signalled = asyncio.create_task(stopping.wait(), name="signal")
            done, _ = await asyncio.wait({*parts, signalled}, return_when=asyncio.FIRST_COMPLETED)
            for task in (*parts, signalled):
                task.cancel()
            await asyncio.gather(*parts, signalled, return_exceptions=True)
            await leadership.give_up()
    finally:
        await cluster.close()
    for task in done - {signalled}:
        why = task.exception()
        raise EndedByItselfError(f"{task.get_name()} ended: {why}" if why else f"{task.get_name()} ended") from why


async def _lead(leadership: Leadership, workers: Workers) -> None:
    await leadership.gain()
    workers.act()
    await leadership.keep()
