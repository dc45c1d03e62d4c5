"""Makes the artifacts of this folder: `python -m tests.keras3 [TENSORFLOW...]`, from the converter image's folder.

Each version of TensorFlow gets an environment of its own, for a while, by `uv`; together they download some 3 GB. What
they write is packed, so that the same bytes come of the same model: a model's weights are drawn from fixed seeds.
"""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
# Of each minor version of TensorFlow the last one, and a Keras of its time.
VERSIONS = {
    "2.16.2": ("keras==3.3.3",),
    "2.17.1": ("keras==3.5.0",),
    "2.18.1": ("keras==3.8.0", "jax==0.4.38", "jaxlib==0.4.38"),
    "2.19.1": ("keras==3.10.0",),
    "2.20.0": ("keras==3.11.3",),
    "2.21.0": ("keras==3.13.2",),
}


def make(tensorflow: str, others: tuple[str, ...]) -> None:
    """Write what this version of TensorFlow exports."""
    with tempfile.TemporaryDirectory(prefix="keras3-") as folder:
        python, made = Path(folder, "environment/bin/python"), Path(folder, "made")
        subprocess.run(["uv", "venv", "--python", "3.11", python.parent.parent], check=True)
        packages = [f"tensorflow-cpu=={tensorflow}", *others]
        subprocess.run(["uv", "pip", "install", "--python", python, *packages], check=True)
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": ""}
        subprocess.run([python, HERE / "models.py", made], check=True, env=environment)
        for model in sorted(path for path in made.iterdir() if path.is_dir()):
            name = f"{model.name}-tensorflow-{tensorflow}"
            pack(model, HERE / f"{name}.tar.gz")
            answers = made / f"{model.name}.npz"
            if answers.exists():
                (HERE / f"{name}.npz").write_bytes(answers.read_bytes())


def pack(model: Path, target: Path) -> None:
    """An archive of the folder, without the times and the users of its files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(path for path in model.rglob("*") if path.is_file()):
            entry = tarfile.TarInfo(str(path.relative_to(model)))
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(entry, file)
    target.write_bytes(gzip.compress(packed.getvalue(), mtime=0))


if __name__ == "__main__":
    for version in sys.argv[1:] or VERSIONS:
        make(version, VERSIONS[version])
