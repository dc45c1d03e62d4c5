"""The operator's configuration: a YAML file, validated when the operator starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from .api.storage import STORE_PATTERN, StoreUri
from .domain.runtime import Accelerator, Catalogue, Runtime

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


class _Runtime(_Part):
    name: str = Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=63)
    image: str = Field(min_length=1)
    tensorflow: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    tensorrt: str = Field(default="", pattern=r"^(\d+\.\d+\.\d+(\.\d+)?)?$")
    accelerator: Accelerator


class _Artifacts(_Part):
    uri: StoreUri | None = Field(default=None, pattern=STORE_PATTERN)


Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]


class _File(_Part):
    runtimes: tuple[_Runtime, ...] = Field(min_length=1)
    default_runtime: str
    artifacts: _Artifacts = _Artifacts()
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
    catalogue = Catalogue(
        runtimes=tuple(
            Runtime(runtime.name, runtime.image, runtime.tensorflow, runtime.tensorrt, runtime.accelerator)
            for runtime in found.runtimes
        ),
        default_runtime=found.default_runtime,
        store=found.artifacts.uri,
    )
    return Configuration(catalogue, found.watch_namespaces)
