"""One network namespace, joined to this machine by a veth, without a default route: nothing can leave the machine."""

import subprocess

from .layout import Layout


def up(layout: Layout) -> None:
    """Make the namespace, the veth, and the routes to Services and Pods. What is there stays."""
    if not layout.namespace_path.exists():
        _ip("netns", "add", layout.namespace)
    if not _exists(layout.host_link):
        _ip(
            "link", "add", layout.host_link, "type", "veth", "peer", "name", layout.node_link, "netns", layout.namespace
        )
    inside = ("-n", layout.namespace)
    _ip("addr", "replace", f"{layout.host_address}/30", "dev", layout.host_link)
    _ip("link", "set", layout.host_link, "up")
    _ip(*inside, "link", "set", "lo", "up")
    _ip(*inside, "addr", "replace", f"{layout.node_address}/30", "dev", layout.node_link)
    _ip(*inside, "link", "set", layout.node_link, "up")
    # Only so that traffic to Services passes the route lookup before kube-proxy's rules give it another address.
    _ip(*inside, "route", "replace", layout.services, "dev", layout.node_link)
    for destination in (layout.services, layout.pods):
        _ip("route", "replace", destination, "via", layout.node_address)
    forwarding = ["sysctl", "-qw", "net.ipv4.ip_forward=1"]  # the namespace's own, not the machine's
    subprocess.run(["nsenter", f"--net={layout.namespace_path}", *forwarding], check=True)


def down(layout: Layout) -> None:
    """Remove the veth, its routes and the namespace."""
    if _exists(layout.host_link):
        _ip("link", "delete", layout.host_link)
    if layout.namespace_path.exists():
        _ip("netns", "delete", layout.namespace)


def _exists(link: str) -> bool:
    return subprocess.run(["ip", "link", "show", link], capture_output=True, check=False).returncode == 0


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
