"""Runtimes: tested sets of TensorFlow, TensorRT and a server, of which the administrator configures a catalogue."""

from dataclasses import dataclass
from enum import StrEnum

from ..api.network import NetworkPolicyPeer


class Accelerator(StrEnum):
    """What a runtime needs on its node."""

    GPU = "GPU"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class Runtime:
    """One image that converts and serves, so that an engine is always loaded by the TensorRT that built it."""

    name: str
    image: str
    tensorflow: str
    tensorrt: str
    accelerator: Accelerator


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
