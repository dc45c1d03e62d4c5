"""Compiles the C sources of `tftrt_runtime/serve`, wherever the package is built or installed: uv, pip, the image.

The compiler is Zig's, a Python package of a pinned version: the same library comes of it on every machine, which needs
no compiler of its own, and it runs with the glibc of any distribution that TensorFlow's wheels run with.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("tftrt_runtime/serve")
LIBRARIES = {
    "connections": ("connections", "declared_shapes"),
    "aborted_calls": ("aborted_calls",),
    # Its name is what tritonserver makes of the backend's, "tftrt".
    "triton_tftrt": tuple(
        f"backend/{part}" for part in ("answer", "backend", "counts", "question", "signature", "slot")
    ),
}
# glibc 2.17 is that of manylinux2014, which TensorFlow 2.14.1's wheels are for.
TARGET = "x86_64-linux-gnu.2.17"
FLAGS = ("-shared", "-fPIC", "-O2", "-s", "-std=gnu11", "-Wall", "-Wextra", "-Werror")
# All others are there to be found by the names of their functions.
OWN_FLAGS = {"triton_tftrt": ("-fvisibility=hidden",)}
SYSTEM_LIBRARIES = ("-ldl",)


class LibrariesHook(BuildHookInterface[Any]):
    """Puts each library beside its sources, and into the wheel."""

    def initialize(self, _version: str, build_data: dict[str, Any]) -> None:
        """Compile before hatchling collects the files."""
        for name, parts in LIBRARIES.items():
            library, *sources = (str(FOLDER / one) for one in (f"lib{name}.so", *(f"{part}.c" for part in parts)))
            compiler = [sys.executable, "-m", "ziglang", "cc", "-target", TARGET]
            command = [*compiler, *FLAGS, *OWN_FLAGS.get(name, ()), "-o", library, *sources, *SYSTEM_LIBRARIES]
            subprocess.run(command, cwd=Path(self.root), check=True)
            build_data["artifacts"].append(library)
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-manylinux2014_x86_64"
