"""Another build to measure beside this one: a checkout of its own, with an environment of its own."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.cluster.progress import say

from .build import ROOT, Build


def checkout(commit: str) -> Path:
    """Return a worktree of a commit, which is made where there is none yet."""
    folder = ROOT / "build" / "baseline" / commit
    if not folder.exists():
        subprocess.run(["git", "-C", str(ROOT), "worktree", "prune"], check=True)
        command = ["git", "-C", str(ROOT), "worktree", "add", "--quiet", "--detach", str(folder), commit]
        subprocess.run(command, check=True)
    return folder


def with_environment(folder: Path) -> Build:
    """Return the build of a checkout with the packages that its lock file names, which are installed where they lack.

    Raises:
        subprocess.CalledProcessError: they cannot be installed.
    """
    say(f"the environment of {folder.name}")
    path = f"{os.environ['PATH']}:{ROOT / '.venv-uv' / 'bin'}"
    command = [shutil.which("uv", path=path) or "uv", "sync", "--quiet", "--frozen", "--no-dev", "--no-install-project"]
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.run(command, cwd=folder, env=environment, check=True)
    return Build(folder, folder / ".venv" / "bin" / "python")
