"""Events as the API server takes them."""

from datetime import UTC, datetime
from typing import Any

from ..api import API_VERSION, KIND
from ..domain.manifest import digest
from ..domain.manifests import names
from ..domain.observation import Reference
from ..domain.plan import Event


def event_body(about: Reference, event: Event) -> dict[str, Any]:
    """Return the API server's Event for one of a plan's."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    message = event.message[:1024]  # the API server's limit
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            # The same news is the same object: told again, it is counted.
            "name": f"{about.name}.{digest([about.uid, event.reason, message], 16)}",
            "namespace": about.namespace,
        },
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": about.namespace,
            "name": about.name,
            "uid": about.uid,
        },
        "type": "Warning" if event.warning else "Normal",
        "reason": event.reason,
        "message": message,
        "source": {"component": names.OPERATOR},
        "reportingComponent": names.OPERATOR,
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
    }
