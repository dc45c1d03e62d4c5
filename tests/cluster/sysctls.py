"""Settings of the whole machine that the kubelet changes, remembered before and restored after."""

import json
from pathlib import Path

from .layout import Layout

# kubelet/pkg/cm sets the first three for every node; the key limits are what containers want.
CHANGED_BY_KUBELET = (
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def remember(layout: Layout) -> None:
    """Write down the settings, unless that has been done."""
    path = _path(layout)
    if not path.exists():
        path.write_text(json.dumps(current()))


def restore(layout: Layout) -> None:
    """Set back what was written down."""
    path = _path(layout)
    if path.exists():
        for name, value in json.loads(path.read_text()).items():
            setting = Path("/proc/sys") / name
            if setting.read_text().strip() != value:
                setting.write_text(value)
        path.unlink()


def current() -> dict[str, str]:
    """Return the settings as they are."""
    return {name: (Path("/proc/sys") / name).read_text().strip() for name in CHANGED_BY_KUBELET}


def _path(layout: Layout) -> Path:
    return layout.folder / "sysctls.json"
