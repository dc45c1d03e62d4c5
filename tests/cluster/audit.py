"""What the operator asks of the API server: its audit log, less what anybody else asks."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

import yaml

from .layout import Layout

NAMESPACE = "tftrt-system"
"""Of the ServiceAccounts whose calls are written down."""
WITH_BODIES = "with-bodies"
"""What is sent to this namespace is written down with what was sent."""


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
    name: str
    status: int
    authorized: bool
    received: float
    """In seconds since the epoch, as is the next one."""
    answered: float
    sent: Mapping[str, Any] | None = None
    """What a write to the namespace WITH_BODIES was to make."""

    @property
    def is_write(self) -> bool:
        """Whether it was to change something."""
        return self.verb not in ("get", "list", "watch")


def write_policy(layout: Layout) -> None:
    """Write what the API server is to write down."""
    accounts = {"userGroups": [f"system:serviceaccounts:{NAMESPACE}"]}
    rules = [
        {"level": "Request", "namespaces": [WITH_BODIES], **accounts},
        {"level": "Metadata", **accounts},
        {"level": "None"},
    ]
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
            call = _call(json.loads(line))
            if call.received >= since.timestamp():
                yield call


class Follower:
    """Reads the audit log while it is written: each call once."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.audit_log
        self._file: BinaryIO | None = None
        self._rest = b""

    def read(self) -> Iterator[Call]:
        """Yield the calls that have been answered since the last time."""
        if self._file is None:
            self._file = self._path.open("rb")
        yield from self._lines(self._file)
        if os.fstat(self._file.fileno()).st_ino != self._path.stat().st_ino:  # it was full, and has another name now
            yield from self._lines(self._file)
            self._file.close()
            self._file = self._path.open("rb")
            yield from self._lines(self._file)

    def _lines(self, file: BinaryIO) -> Iterator[Call]:
        *lines, self._rest = (self._rest + file.read()).split(b"\n")
        for line in lines:
            yield _call(json.loads(line))


def _call(event: dict[str, Any]) -> Call:
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
        name=target.get("name", ""),
        status=int(part("responseStatus").get("code", 0)),
        authorized=part("annotations").get("authorization.k8s.io/decision") == "allow",
        received=datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
        answered=datetime.fromisoformat(event["stageTimestamp"]).timestamp(),
        sent=event.get("requestObject"),
    )
