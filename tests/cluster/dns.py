"""CoreDNS, which the pods of all nodes ask."""

from pathlib import Path

from . import processes
from .layout import Layout

PROCESS = "coredns"


def up(layout: Layout, binaries: Path) -> None:
    """Start it unless it runs."""
    corefile = layout.folder / "etc" / "Corefile"
    corefile.write_text(_corefile(layout))
    processes.start(layout, PROCESS, [binaries / "coredns", "-conf", corefile])


def down(layout: Layout) -> None:
    """End it."""
    processes.stop(layout, PROCESS)


def _corefile(layout: Layout) -> str:
    return f""".:53 {{
    bind {layout.control_plane_address}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {layout.kubeconfig("coredns")}
        ttl 5
    }}
}}
"""
