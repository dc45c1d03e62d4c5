"""The operator's configuration: a YAML file, validated when the operator starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from .api.network import EgressPorts, NetworkPolicyPeer
from .api.storage import STORE_PATTERN, StoreUri
from .domain.runtime import Accelerator, Catalogue, Network, Proxy, Runtime

DEFAULT_PATH = Path("/etc/tftrt-operator/config.yaml")
PROXY_PATTERN = r"^(https?://[^/@\s]+/?)?$"
"""Without a user and a password: what pods are started with is there for all to read who may read pods."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the administrator has decided."""

    catalogue: Catalogue
    watch_namespaces: tuple[str, ...]
    """Where the operator looks for TRTModels; empty where it does so in all namespaces."""


class ConfigurationError(Exception):
    """The configuration cannot be used; the message says where and why."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class _Runtime(_Part):
    name: str = Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=63)
    image: str = Field(min_length=1)
    tensorflow: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    tensorrt: str = Field(default="", pattern=r"^(\d+\.\d+\.\d+(\.\d+)?)?$")
    accelerator: Accelerator


class _Artifacts(_Part):
    uri: StoreUri | None = Field(default=None, pattern=STORE_PATTERN)


class _Proxy(_Part):
    http_proxy: str = Field(default="", pattern=PROXY_PATTERN)
    https_proxy: str = Field(default="", pattern=PROXY_PATTERN)
    no_proxy: str = ""


def _peer(written: Any) -> NetworkPolicyPeer:
    """Parse a peer. No key is passed over here: a selector with its condition misspelled would select everybody."""
    peer = NetworkPolicyPeer.model_validate(written)
    if peer.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True) != written or not written:
        raise ValueError("must be a peer of a NetworkPolicy: podSelector, namespaceSelector, or ipBlock")
    return peer


class _Network(_Part):
    egress_ports: EgressPorts = ()
    metrics_from: tuple[Annotated[NetworkPolicyPeer, BeforeValidator(_peer)], ...] = Field(default=(), max_length=15)


Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]


class _File(_Part):
    runtimes: tuple[_Runtime, ...] = Field(min_length=1)
    default_runtime: str
    artifacts: _Artifacts = _Artifacts()
    proxy: _Proxy = _Proxy()
    model_network_policy: _Network = _Network()
    watch_namespaces: tuple[Namespace, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [runtime.name for runtime in self.runtimes]
        if len(set(names)) < len(names):
            raise ValueError(f"two runtimes have the same name: {', '.join(sorted(names))}")
        if len(set(self.watch_namespaces)) < len(self.watch_namespaces):
            raise ValueError(f"watchNamespaces has a namespace twice: {', '.join(sorted(self.watch_namespaces))}")
        if self.default_runtime not in names:
            raise ValueError(f"defaultRuntime {self.default_runtime!r} is none of the runtimes {', '.join(names)}")
        for runtime in self.runtimes:
            if (runtime.accelerator is Accelerator.GPU) != bool(runtime.tensorrt):
                raise ValueError(
                    f"runtime {runtime.name!r}: accelerator GPU and a tensorrt version go together, or neither is set"
                )
        return self


def read_configuration(path: Path = DEFAULT_PATH) -> Configuration:
    """Return what a configuration file says.

    Raises:
        ConfigurationError: the file is missing, is no YAML, or says something that cannot be.
    """
    try:
        found = _File.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise ConfigurationError(f"cannot read the configuration {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"the configuration {path} is no YAML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"the configuration {path} cannot be used: {faults}") from error
    said, policy = found.proxy, found.model_network_policy
    proxy = Proxy(said.http_proxy, said.https_proxy, said.no_proxy)
    catalogue = Catalogue(
        runtimes=tuple(
            Runtime(runtime.name, runtime.image, runtime.tensorflow, runtime.tensorrt, runtime.accelerator, proxy)
            for runtime in found.runtimes
        ),
        default_runtime=found.default_runtime,
        store=found.artifacts.uri,
        # Who is told of a proxy has to reach it.
        network=Network((*policy.egress_ports, *proxy.ports), policy.metrics_from),
    )
    return Configuration(catalogue, found.watch_namespaces)
