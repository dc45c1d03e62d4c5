"""The operator's configuration: a YAML file, validated when the operator starts."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from .api.network import EgressPorts, NetworkPolicyPeer
from .api.storage import HTTP_HOST, STORE_PATTERN, StoreUri
from .configured_peer import peer
from .domain.runtime import Accelerator, Catalogue, ComputeCapability, Network, Proxy, Runtime

DEFAULT_PATH = Path("/etc/tftrt-operator/config.yaml")


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


def _compute_capability(written: object) -> ComputeCapability:
    """Take a number for a mistake: on its way through YAML 9.0 becomes 9."""
    if not isinstance(written, str) or not re.fullmatch(r"\d{1,2}\.\d", written):
        raise ValueError('must be a compute capability in quotes, for example "9.0"')
    major, _, minor = written.partition(".")
    return ComputeCapability(int(major), int(minor))


class _Runtime(_Part):
    name: str = Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=63)
    image: str = Field(min_length=1)
    tensorflow: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    tensorrt: str = Field(default="", pattern=r"^(\d+\.\d+\.\d+(\.\d+)?)?$")
    accelerator: Accelerator
    max_compute_capability: Annotated[ComputeCapability, BeforeValidator(_compute_capability)] | None = None


class _Artifacts(_Part):
    uri: StoreUri | None = Field(default=None, pattern=STORE_PATTERN)


def _proxy_address(written: str) -> str:
    """Take a user and a password for a mistake: what pods are started with is there for all who may read pods."""
    try:
        address = written and urlsplit(written)
        well = not address or (re.fullmatch(rf"https?://{HTTP_HOST}/?", written) and address.port != 0)
    except ValueError:  # of the brackets, or of the port
        well = False
    if not well:
        raise ValueError("must be http://host:port or https://host:port, without a user, a password or a path")
    return written


ProxyAddress = Annotated[str, AfterValidator(_proxy_address)]


class _Proxy(_Part):
    http_proxy: ProxyAddress = ""
    https_proxy: ProxyAddress = ""
    no_proxy: str = ""


class _Network(_Part):
    egress_ports: EgressPorts = ()
    metrics_from: tuple[Annotated[NetworkPolicyPeer, BeforeValidator(peer)], ...] = Field(default=(), max_length=15)


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
            if runtime.accelerator is Accelerator.NONE and runtime.max_compute_capability is not None:
                raise ValueError(f"runtime {runtime.name!r}: maxComputeCapability is for accelerator GPU")
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
            Runtime(
                runtime.name,
                runtime.image,
                runtime.tensorflow,
                runtime.tensorrt,
                runtime.accelerator,
                proxy,
                runtime.max_compute_capability,
            )
            for runtime in found.runtimes
        ),
        default_runtime=found.default_runtime,
        store=found.artifacts.uri,
        # Who is told of a proxy has to reach it.
        network=Network((*policy.egress_ports, *proxy.ports), policy.metrics_from),
    )
    return Configuration(catalogue, found.watch_namespaces)
