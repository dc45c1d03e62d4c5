"""A network namespace for each node, without a default route: nothing can leave the machine.

The first is joined to this machine by a veth, and the second to the first, which forwards what is for it: then this
machine needs to forward nothing.
"""

import subprocess

from .layout import Layout, NodeLayout


def up(layout: Layout) -> None:
    """Make the first node's namespace, the veth, and the routes to Services and Pods. What is there stays."""
    node = layout.first
    _join(node, ())
    for destination in (layout.services, layout.pods):
        _ip("route", "replace", destination, "via", node.address)


def join(node: NodeLayout) -> None:
    """Make another node's namespace, and the routes between it, the first node and this machine."""
    first = node.cluster.first
    inside_first = ("-n", first.namespace)
    _join(node, inside_first)
    _ip("route", "replace", node.network, "via", first.address)
    _ip(*inside_first, "route", "replace", node.pods, "via", node.address)
    for destination in (first.network, first.pods):
        _ip("-n", node.namespace, "route", "replace", destination, "via", node.gateway)


def leave(node: NodeLayout) -> None:
    """Remove a node's veth, its routes and its namespace."""
    first = node.cluster.first
    outside = () if node.is_first else ("-n", first.namespace)
    # The veth first: it goes at once, and with its namespace only some time later.
    if (node.is_first or first.namespace_path.exists()) and _exists(node.outer_link, outside):
        _ip(*outside, "link", "delete", node.outer_link)
        if not node.is_first:
            _ip("route", "delete", node.network)
    if node.namespace_path.exists():
        _ip("netns", "delete", node.namespace)


def _join(node: NodeLayout, outside: tuple[str, ...]) -> None:
    """Join a node's namespace to `outside`, which is this machine or another namespace."""
    if not node.namespace_path.exists():
        _ip("netns", "add", node.namespace)
    if not _exists(node.outer_link, outside):
        peer = ("type", "veth", "peer", "name", node.inner_link, "netns", node.namespace)
        _ip(*outside, "link", "add", node.outer_link, *peer)
    inside = ("-n", node.namespace)
    _ip(*outside, "addr", "replace", f"{node.gateway}/30", "dev", node.outer_link)
    _ip(*outside, "link", "set", node.outer_link, "up")
    _ip(*inside, "link", "set", "lo", "up")
    _ip(*inside, "addr", "replace", f"{node.address}/30", "dev", node.inner_link)
    _ip(*inside, "link", "set", node.inner_link, "up")
    # Only so that traffic to Services passes the route lookup before kube-proxy's rules give it another address.
    _ip(*inside, "route", "replace", node.cluster.services, "dev", node.inner_link)
    forwarding = ["sysctl", "-qw", "net.ipv4.ip_forward=1"]  # the namespace's own, not the machine's
    subprocess.run(["nsenter", f"--net={node.namespace_path}", *forwarding], check=True)


def _exists(link: str, where: tuple[str, ...]) -> bool:
    return subprocess.run(["ip", *where, "link", "show", link], capture_output=True, check=False).returncode == 0


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
