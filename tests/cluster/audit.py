"""What the operator asks of the API server: its audit log, less what anybody else asks."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import yaml

from .layout import Layout

NAMESPACE = "tftrt-system"
"""Of the ServiceAccounts whose calls are written down."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as the API server's authorizer saw it; one that is no resource's has a path and no resource."""

    user: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    path: str
    status: int
    authorized: bool


def write_policy(layout: Layout) -> None:
    """Write what the API server is to write down."""
    rules = [{"level": "Metadata", "userGroups": [f"system:serviceaccounts:{NAMESPACE}"]}, {"level": "None"}]
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],  # a watch tells of itself when it begins, anything else when it is answered
        "rules": rules,
    }
    layout.audit_policy.write_text(yaml.safe_dump(policy))


def calls(layout: Layout, since: datetime) -> Iterator[Call]:
    """Yield the calls that came since then."""
    for path in sorted(layout.audit_log.parent.glob(f"{layout.audit_log.stem}*")):  # the full ones have a date
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if datetime.fromisoformat(event["requestReceivedTimestamp"]) >= since:
                yield _call(event)


def _call(event: dict[str, object]) -> Call:
    def part(name: str) -> dict[str, str]:
        found = event.get(name) or {}
        assert isinstance(found, dict)
        return found

    target = part("objectRef")
    return Call(
        user=part("user")["username"],
        verb=str(event["verb"]),
        group=target.get("apiGroup", ""),
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        path=str(event["requestURI"]),
        status=int(part("responseStatus").get("code", 0)),
        authorized=part("annotations").get("authorization.k8s.io/decision") == "allow",
    )
