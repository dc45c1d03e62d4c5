"""The operator as a process: what runs in it, and how it ends."""

import asyncio
import signal

from ..config import Configuration
from .cluster import EVERYWHERE, Cluster
from .health import Health
from .model_watch import ModelWatch
from .worker import Workers


class EndedByItselfError(Exception):
    """A part ended that runs for ever: a new process is better than one that does half of its work."""


async def run(configuration: Configuration, health_port: int) -> None:
    """Run until a signal ends the process.

    Raises:
        EndedByItselfError: a part ended without a signal.
    """
    namespaces = configuration.watch_namespaces or EVERYWHERE
    cluster = await Cluster.connect(len(namespaces))
    workers = Workers(cluster, configuration.catalogue, namespaces)
    watches = [ModelWatch(cluster, workers.caches, namespace) for namespace in namespaces]
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        async with Health(cluster, workers, watches).answering(health_port):
            parts = [
                asyncio.create_task(workers.run(), name="workers"),
                *(asyncio.create_task(watch.run(), name="watch of TRTModels") for watch in watches),
            ]
            signalled = asyncio.create_task(stopping.wait(), name="signal")
            done, _ = await asyncio.wait({*parts, signalled}, return_when=asyncio.FIRST_COMPLETED)
            for task in (*parts, signalled):
                task.cancel()
            await asyncio.gather(*parts, signalled, return_exceptions=True)
    finally:
        await cluster.close()
    for task in done - {signalled}:
        raise EndedByItselfError(f"{task.get_name()} ended") from task.exception()
