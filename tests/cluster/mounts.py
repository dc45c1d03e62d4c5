"""Mounts that containers and the kubelet leave behind."""

import subprocess
from pathlib import Path


def mounts_below(folder: Path) -> list[str]:
    """Return the mount points below a folder, innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return sorted((point for point in points if point.startswith(f"{folder}/")), key=len, reverse=True)


def unmount_below(folder: Path) -> None:
    """Unmount everything below a folder."""
    for point in mounts_below(folder):
        subprocess.run(["umount", "-l", point], capture_output=True, check=False)
