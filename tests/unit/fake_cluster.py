"""An API server for the engine room's tests: it refuses, delays and repeats as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from tftrt_operator.controller.cluster import Page, WatchEvent

Script = list[WatchEvent | Exception | Callable[[], None]]


class FakeCluster:
    """Pages to list, and for each watch what it brings; a watch that has brought all ends, the last one stays open."""

    def __init__(self, pages: list[Page], *watches: Script) -> None:
        self.pages = pages
        self.watches = list(watches)
        self.lists = 0
        self.from_versions: list[str] = []
        self.idle = asyncio.Event()
        self.between_pages: Callable[[], None] = lambda: None

    async def list_page(self, _kind: str, _selector: str = "", next_page: str = "", _namespace: Any = None) -> Page:
        if next_page:
            self.between_pages()
            return self.pages[int(next_page)]
        self.lists += 1
        return self.pages[0]

    async def watch(
        self, _kind: str, _selector: str, resource_version: str, _namespace: Any = None
    ) -> AsyncIterator[WatchEvent]:
        self.from_versions.append(resource_version)
        if not self.watches:
            self.idle.set()
            await asyncio.Event().wait()
        for step in self.watches.pop(0):
            if isinstance(step, Exception):
                raise step
            if isinstance(step, WatchEvent):
                yield step
            else:
                step()


def config_map(name: str, version: int, **changes: Any) -> dict[str, Any]:
    """An object with as much metadata as every object has."""
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": f"{version}"}
    return {"kind": "ConfigMap", "metadata": metadata | changes}
