"""Takes out of an environment what no operation needs, and dates the rest: `python3 leave_out.py VENV cpu|gpu [OUT]`.

What goes, and why, is in `left_out.txt`. It goes to the folder OUT, which no image has, or nowhere. All that is left is
of the same moment, so that the layer has the same digest wherever it is built of the same packages: bytecode must not
depend on it (PYC_INVALIDATION_MODE=unchecked-hash).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

LIST = Path(__file__).with_name("left_out.txt")
MOMENT = 315532800  # 1980, the first that a zip file can have


def left_out(image: str, text: str) -> Iterator[tuple[str, str]]:
    """The paths that this image leaves out, and why.

    Raises:
        ValueError: a line has no three parts, or names no image.
    """
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        images, path, why = map(str.strip, line.split("|"))
        if images not in ("both", "cpu", "gpu") or not why:
            raise ValueError(f"{line!r} does not name an image, a path and a reason")
        if images in ("both", image):
            yield path, why


def take_out(site: Path, image: str, out: Path | None) -> None:
    """Move them, or delete them.

    Raises:
        FileNotFoundError: a path is not there.
    """
    for pattern, why in left_out(image, LIST.read_text()):
        found = sorted(site.glob(pattern))
        if not found:
            raise FileNotFoundError(f"{site / pattern} is not there any more ({why}): see {LIST.name}")
        for path in found:
            if out is not None:
                target = out / path.relative_to(site)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(path, target)
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def date(tree: Path) -> None:
    """Date everything, folders after what is in them."""
    for folder, folders, files in os.walk(tree, topdown=False):
        for name in (*files, *folders, ""):
            os.utime(Path(folder, name), (MOMENT, MOMENT), follow_symlinks=False)


def main() -> None:
    """As the command line says."""
    venv, image = Path(sys.argv[1]), sys.argv[2]
    out = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    (site,) = venv.glob("lib/python3.*/site-packages")
    take_out(site, image, out)
    date(venv)


if __name__ == "__main__":
    main()
