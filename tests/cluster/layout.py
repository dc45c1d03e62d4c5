"""Where an instance of the cluster lives: its folder, its network namespace and its addresses.

Instances do not know of each other: each has its own folder, namespace and subnets, so that a user's demo and a run of
the tests can stand side by side. Binaries and images are shared, by the hash of what they are made of.
"""

import os
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent
REPOSITORY = SOURCE.parents[1]


def root() -> Path:
    """Return the folder of all instances. Short, because of the 107 characters of a unix socket's path."""
    return Path(os.environ.get("TFTRT_CLUSTER_ROOT", "/var/lib/tftrt-cluster"))


def cache() -> Path:
    """Return the folder of built binaries and images, which all instances share."""
    return root() / "cache"


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths and addresses of one instance."""

    instance: int

    def __post_init__(self) -> None:
        if not 0 <= self.instance <= 9:
            raise ValueError(f"the instance must be 0 to 9, not {self.instance}")

    @property
    def folder(self) -> Path:
        """Everything that the instance writes."""
        return root() / str(self.instance)

    @property
    def namespace(self) -> str:
        """The network namespace."""
        return f"tftrt{self.instance}"

    @property
    def namespace_path(self) -> Path:
        """The network namespace, as a file to enter it by."""
        return Path("/run/netns") / self.namespace

    @property
    def host_link(self) -> str:
        """The veth's end outside the namespace."""
        return f"tftrt{self.instance}host"

    @property
    def node_link(self) -> str:
        """The veth's end inside the namespace."""
        return f"tftrt{self.instance}node"

    @property
    def node(self) -> str:
        """The node's name."""
        return f"node{self.instance}"

    @property
    def host_address(self) -> str:
        """This machine, as the cluster sees it."""
        return f"10.99.{self.instance}.1"

    @property
    def node_address(self) -> str:
        """The node and the API server."""
        return f"10.99.{self.instance}.2"

    @property
    def services(self) -> str:
        """The range of Services."""
        return f"10.96.{self.instance}.0/24"

    @property
    def kubernetes_service(self) -> str:
        """The API server's own Service."""
        return f"10.96.{self.instance}.1"

    @property
    def pods(self) -> str:
        """The range of Pods."""
        return f"10.244.{self.instance}.0/24"

    @property
    def api_server(self) -> str:
        """The API server's URL."""
        return f"https://{self.node_address}:6443"

    def kubeconfig(self, user: str = "admin") -> Path:
        """The kubeconfig of a user."""
        return self.folder / "etc" / f"{user}.kubeconfig"

    def certificate(self, name: str) -> Path:
        """A certificate or key, by file name."""
        return self.folder / "pki" / name

    @property
    def audit_policy(self) -> Path:
        """What the API server writes down."""
        return self.folder / "etc" / "audit-policy.yaml"

    @property
    def audit_log(self) -> Path:
        """Where it does."""
        return self.folder / "log" / "audit.log"
