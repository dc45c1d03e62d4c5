"""A validating webhook that takes its time over each Job of one namespace, and then refuses it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.admission import Webhook, webhook

from .calls import Calls

WRITE_SECONDS = 10.0
ANSWER_WITHIN_SECONDS = 30
"""For so long the API server waits for the webhook, and the operator for the API server."""
KIND = "ValidatingWebhookConfiguration"


@dataclass(frozen=True)
class SlowWebhook:
    """The server, and what it was asked."""

    server: Webhook
    calls: Calls

    def configuration(self, namespace: str) -> dict[str, Any]:
        """Return the object that puts the creation of Jobs in one namespace before this webhook."""
        rule = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
        return self.server.configuration(KIND, "slow", namespace, rule, ANSWER_WITHIN_SECONDS)


@contextmanager
def slow_webhook(address: str) -> Iterator[SlowWebhook]:
    """Have the webhook run at this machine's address, on a port that is free."""
    calls = Calls()
    stopping = threading.Event()

    def review(request: dict[str, Any]) -> dict[str, Any]:
        # A dry run asks whether the webhook is in force, and is told at once.
        if not request.get("dryRun"):
            with calls.under_way(_model_of(request["object"])):
                stopping.wait(WRITE_SECONDS)
        # A code at which the operator tries again.
        return {"allowed": False, "status": {"code": 500, "message": "not today"}}

    with webhook(address, review) as server:
        try:
            yield SlowWebhook(server, calls)
        finally:
            stopping.set()


def _model_of(job: dict[str, Any]) -> str:
    return str(job["metadata"]["ownerReferences"][0]["name"])
