"""A cgroup for each node's Pods: a kubelet ends whatever it does not know below its own."""

from collections.abc import Iterator
from pathlib import Path

from .layout import NodeLayout

_TOP = Path("/sys/fs/cgroup")


def up(node: NodeLayout) -> None:
    """Make the node's cgroup in every hierarchy."""
    for hierarchy in _hierarchies():
        folder = hierarchy / node.namespace
        folder.mkdir(exist_ok=True)
        # A new cpuset is empty, and nothing can run in it: it starts as its parent is.
        for name in ("cpuset.cpus", "cpuset.mems"):
            file = folder / name
            if file.exists() and (hierarchy / name).exists() and not file.read_text().strip():
                file.write_text((hierarchy / name).read_text())


def down(node: NodeLayout) -> None:
    """Remove the node's cgroups, innermost first; they are empty once its containers have ended."""
    for hierarchy in _hierarchies():
        top = hierarchy / node.namespace
        if top.exists():
            inner = sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True)
            for folder in (*inner, top):
                folder.rmdir()


def root(node: NodeLayout) -> str:
    """Return the cgroup's name as the kubelet takes it."""
    return f"/{node.namespace}"


def _hierarchies() -> Iterator[Path]:
    """Yield where cgroups are made: the one hierarchy of version 2, or each controller's of version 1."""
    if (_TOP / "cgroup.controllers").exists():
        yield _TOP
        return
    seen = set()
    for path in sorted(_TOP.iterdir()):
        # `cpu` and `cpuacct` may be one hierarchy by two names.
        if path.is_dir() and path.resolve() not in seen:
            seen.add(path.resolve())
            yield path
