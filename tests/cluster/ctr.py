"""containerd's own client, for what the kubelet does not ask of it."""

import subprocess
from pathlib import Path

from .layout import NodeLayout
from .prerequisites import find

NAMESPACE = "k8s.io"  # where the kubelet's containers and images are


def ctr(node: NodeLayout, *arguments: str, check: bool = True) -> str:
    """Have a node's containerd do something, and return what it prints.

    Raises:
        RuntimeError: it failed, and `check` is set; the message says why.
    """
    command = [program("ctr"), "-a", str(socket(node)), "-n", NAMESPACE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"ctr {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def socket(node: NodeLayout) -> Path:
    """Return where a node's containerd listens."""
    return node.folder / "containerd" / "containerd.sock"


def program(name: str) -> str:
    """Return a program's path, or its name where it is not found."""
    return find(name) or name
