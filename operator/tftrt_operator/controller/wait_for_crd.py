"""Waits for the CRD: it may come after the operator, from another release or pipeline."""

import asyncio
import logging

from ..api import API_VERSION, PLURAL
from .cluster import ApiError, Cluster

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


async def wait_until_served(cluster: Cluster) -> None:
    """Wait until the API server serves TRTModels. An API server that is away is waited for, too."""
    told = ""
    while True:
        try:
            if await cluster.serves(API_VERSION, PLURAL):
                return
            why = f"{PLURAL} of {API_VERSION} are not served: install the CRD (helm, or kubectl apply -f crds/)"
        except ApiError as error:
            why = f"the API server cannot be asked for {API_VERSION}: {error}"
        if why != told:
            logger.warning("Waiting: %s", why)
            told = why
        await asyncio.sleep(LOOK_SECONDS)
