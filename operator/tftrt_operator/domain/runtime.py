"""Runtimes: tested sets of TensorFlow, TensorRT and a server, of which the administrator configures a catalogue."""

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(frozen=True, slots=True)
class Runtime:
    """One image that converts and serves, so that an engine is always loaded by the TensorRT that built it."""

    name: str
    image: str
    tensorflow: str
    tensorrt: str
    accelerator: Accelerator
    proxy: Proxy = Proxy()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The operator's configuration: its runtimes, and the store for models that name none."""

    runtimes: tuple[Runtime, ...]
    default_runtime: str
    store: str | None = None

    def runtime(self, name: str) -> Runtime | None:
        """Return the runtime of that name (the default one for an empty name), or None."""
        wanted = name or self.default_runtime
        return next((runtime for runtime in self.runtimes if runtime.name == wanted), None)
