"""Where an instance of the cluster and its nodes live: folders, network namespaces and addresses.

Instances do not know of each other: each has its own folder, namespace and subnets, so that a user's demo and a run of
the tests can stand side by side. Binaries and images are shared, by the hash of what they are made of.
"""

import os
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent
REPOSITORY = SOURCE.parents[1]
MOST_NODES = 2


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
    def nodes(self) -> tuple["NodeLayout", ...]:
        """All nodes that there can be."""
        return tuple(NodeLayout(self.instance, number) for number in range(1, MOST_NODES + 1))

    @property
    def first(self) -> "NodeLayout":
        """The node whose network the control plane has, too."""
        return self.nodes[0]

    @property
    def namespace_path(self) -> Path:
        """The network namespace of the control plane, as a file to enter it by."""
        return self.first.namespace_path

    @property
    def host_address(self) -> str:
        """This machine, as the cluster sees it."""
        return self.first.gateway

    @property
    def control_plane_address(self) -> str:
        """The API server, the cluster's name server and what else runs for all nodes."""
        return self.first.address

    @property
    def services(self) -> str:
        """The range of Services: room for ten thousand models."""
        return f"{self._services}.0/18"

    @property
    def kubernetes_service(self) -> str:
        """The API server's own Service."""
        return f"{self._services}.1"

    @property
    def _services(self) -> str:
        block, rest = divmod(self.instance, 4)
        return f"10.{96 + block}.{64 * rest}"

    @property
    def pods(self) -> str:
        """The range of Pods, of which each node has a part."""
        return f"10.244.{self.instance}.0/24"

    @property
    def api_server(self) -> str:
        """The API server's URL."""
        return f"https://{self.control_plane_address}:6443"

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


@dataclass(frozen=True, slots=True)
class NodeLayout:
    """The paths and addresses of one node, which are numbered from 1.

    Each has a network namespace. The first is joined to this machine by a veth, and the second to the first: nothing of
    the machine has to forward what they say to each other.
    """

    instance: int
    number: int

    @property
    def cluster(self) -> Layout:
        """The instance that it is of."""
        return Layout(self.instance)

    @property
    def is_first(self) -> bool:
        """Whether it shares its folder and its network with the control plane."""
        return self.number == 1

    @property
    def folder(self) -> Path:
        """Everything that the node writes."""
        return self.cluster.folder if self.is_first else self.cluster.folder / f"node{self.number}"

    @property
    def name(self) -> str:
        """The node's name."""
        return f"node{self.instance}{self._suffix}"

    @property
    def namespace(self) -> str:
        """The network namespace, and the cgroup of the node's Pods."""
        return f"tftrt{self.instance}{self._suffix}"

    @property
    def namespace_path(self) -> Path:
        """The network namespace, as a file to enter it by."""
        return Path("/run/netns") / self.namespace

    @property
    def outer_link(self) -> str:
        """The veth's end outside the namespace."""
        return f"tftrt{self.instance}host{self._suffix}"

    @property
    def inner_link(self) -> str:
        """The veth's end inside the namespace."""
        return f"tftrt{self.instance}node{self._suffix}"

    @property
    def gateway(self) -> str:
        """The veth's other end, as the node sees it."""
        return f"10.99.{self.instance}.{self._block + 1}"

    @property
    def address(self) -> str:
        """The node."""
        return f"10.99.{self.instance}.{self._block + 2}"

    @property
    def network(self) -> str:
        """Both of them."""
        return f"10.99.{self.instance}.{self._block}/30"

    @property
    def pods(self) -> str:
        """The range of the node's Pods."""
        size = 256 // MOST_NODES
        return f"10.244.{self.instance}.{size * (self.number - 1)}/{32 - size.bit_length() + 1}"

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig of one of the node's own users."""
        return self.folder / "etc" / f"{user}.kubeconfig"

    def certificate(self, name: str) -> Path:
        """A certificate or key of the node's own, by file name."""
        return self.folder / "pki" / name

    @property
    def gpu(self) -> Path:
        """What the node's containers find at the place of its GPU."""
        return self.folder / "gpu"

    @property
    def _suffix(self) -> str:
        return "" if self.is_first else f"-{self.number}"

    @property
    def _block(self) -> int:
        return 4 * (self.number - 1)
