"""Runtimes: tested sets of TensorFlow, TensorRT and a server, of which the administrator configures a catalogue."""

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from ..api.network import NetworkPolicyPeer


class Accelerator(StrEnum):
    """What a runtime needs on its node."""

    GPU = "GPU"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class Proxy:
    """The forward proxy through which an installation reaches other hosts; "" where it needs none."""

    http: str = ""
    https: str = ""
    none_for: str = ""
    """Hosts, domains and networks that are reached without it, with commas between them."""

    @property
    def variables(self) -> tuple[tuple[str, str], ...]:
        """The environment variables that every client library knows."""
        named = (("HTTP_PROXY", self.http), ("HTTPS_PROXY", self.https), ("NO_PROXY", self.none_for))
        return tuple((name, value) for name, value in named if value)

    @property
    def ports(self) -> tuple[int, ...]:
        """The TCP ports that it is reached through."""
        addresses = [urlsplit(address) for address in (self.http, self.https) if address]
        return tuple({address.port or (443 if address.scheme == "https" else 80) for address in addresses})


@dataclass(frozen=True, slots=True, order=True)
class ComputeCapability:
    """The generation of a GPU, such as 9.0 for Hopper."""

    major: int
    minor: int

    def __str__(self) -> str:
        """Return it as CUDA writes it."""
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, slots=True)
class Runtime:
    """One image that converts and serves, so that an engine is always loaded by the TensorRT that built it."""

    name: str
    image: str
    tensorflow: str
    tensorrt: str
    accelerator: Accelerator
    proxy: Proxy = Proxy()
    max_compute_capability: ComputeCapability | None = None
    """The newest GPU that its TensorRT knows, or None where nobody has said."""


@dataclass(frozen=True, slots=True)
class Network:
    """What every model's NetworkPolicies allow, beside what its spec says."""

    egress_ports: tuple[int, ...] = ()
    """TCP ports of stores' endpoints and of proxies."""
    metrics_from: tuple[NetworkPolicyPeer, ...] = ()
    """Who reads metrics, where a spec does not say who."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The operator's configuration: its runtimes, the store for models that name none, and the network's defaults."""

    runtimes: tuple[Runtime, ...]
    default_runtime: str
    store: str | None = None
    network: Network = Network()

    def runtime(self, name: str) -> Runtime | None:
        """Return the runtime of that name (the default one for an empty name), or None."""
        wanted = name or self.default_runtime
        return next((runtime for runtime in self.runtimes if runtime.name == wanted), None)
