"""What the machine must have. What is missing is one clear sentence at the start."""

import os
import re
import shutil
import subprocess

# Found on PATH, or where Debian puts it: a root shell without /usr/sbin on its PATH is common.
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_APT = {
    "containerd": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "mount": "mount",
    "nsenter": "util-linux",
}
_IMAGE_APT = {"buildah": "buildah", "debootstrap": "debootstrap"}
_CNI = "/usr/lib/cni/bridge"
_LEAST_GO = (1, 26)


class Missing(Exception):  # noqa: N818 - it says what is missing
    """Something that the cluster needs is not on this machine."""


def find(command: str) -> str | None:
    """Return a command's path."""
    return shutil.which(command, path=os.environ.get("PATH", "") + ":" + _SBIN)


def require_root() -> None:
    """Refuse to go on as somebody else than root.

    Raises:
        Missing: with a sentence.
    """
    if os.geteuid() != 0:
        raise Missing("the embedded cluster needs root: run it as root, or with sudo")


def require_go() -> None:
    """Refuse to go on without a Go that can build Kubernetes.

    Raises:
        Missing: with a sentence.
    """
    wanted = ".".join(str(part) for part in _LEAST_GO)
    go = find("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise Missing(f"Go is missing: install Go {wanted} or newer and put it on PATH")
    version = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) < _LEAST_GO:
        raise Missing(f"Go {wanted} or newer is needed, and {go} is {version}: install a newer one and put it on PATH")


def require_node_packages() -> None:
    """Refuse to start a node without its Debian packages.

    Raises:
        Missing: with a sentence that names them.
    """
    missing = {package for command, package in _APT.items() if find(command) is None}
    if not os.path.exists(_CNI):  # noqa: PTH110
        missing.add("containernetworking-plugins")
    _refuse(missing)


def require_image_packages() -> None:
    """Refuse to build images without the tools for it.

    Raises:
        Missing: with a sentence that names them.
    """
    _refuse({package for command, package in _IMAGE_APT.items() if find(command) is None})


def _refuse(packages: set[str]) -> None:
    if packages:
        names = " ".join(sorted(packages))
        raise Missing(f"Debian packages are missing: run `apt-get install -y --no-install-recommends {names}`")
