"""Takes out of an environment what no operation needs, and dates the rest: `python3 leave_out.py VENV cpu|gpu [OUT]`.

What goes, and why, is in `left_out.txt`. It goes to the folder OUT, which no image has, or nowhere. All that is left is
of the same moment, so that the layer has the same digest wherever it is built of the same packages: bytecode must not
depend on it (PYC_INVALIDATION_MODE=UNCHECKED_HASH).
"""

from __future__ import annotations

import os
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

LIST = Path(__file__).with_name("left_out.txt")
MOMENT = 315532800  # 1980, the first that a zip file can have
# Before a path: not the library goes, but what stands in it behind what is loaded: the names and lines for debuggers.
SYMBOLS = "symbols:"
PROGRAMS = "bin/"


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


def found(venv: Path, path: str) -> list[Path]:
    """What a path of the list names: of the environment's programs, or from its site-packages on."""
    (site,) = venv.glob("lib/python3.*/site-packages")
    base = venv if path.startswith(PROGRAMS) else site
    return sorted(base.glob(path.removeprefix(SYMBOLS)))


def take_out(venv: Path, image: str, out: Path | None) -> None:
    """Move them, or delete them.

    Raises:
        FileNotFoundError: a path is not there.
    """
    for pattern, why in left_out(image, LIST.read_text()):
        paths = found(venv, pattern)
        if not paths:
            raise FileNotFoundError(f"{pattern} is not in {venv} any more ({why}): see {LIST.name}")
        for path in paths:
            if pattern.startswith(SYMBOLS):
                cut_symbols(path)
            elif out is not None:
                target = out / path.relative_to(venv)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(path, target)
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def loaded_bytes(library: Path) -> int:
    """Where what is loaded of a library ends (elf(5), 64 bits): behind it are sections that no process maps."""
    with library.open("rb") as file:
        header = file.read(64)
        if header[:5] != b"\x7fELF\2":
            raise ValueError(f"{library} is no library of 64 bits")
        (table,) = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        file.seek(table)
        segments = [struct.unpack_from("<IIQQQQ", file.read(size)) for _ in range(count)]
    return max(offset + length for _, _, offset, _, _, length in segments)


def cut_symbols(library: Path) -> None:
    """Cut off what no process maps. The loader needs no table of sections, and so there is none.

    The file is another one afterwards: who has it under another name, too, has it as it was.
    """
    end, written = loaded_bytes(library), library.with_name(f"{library.name}.part")
    shutil.copy2(library, written)
    with written.open("r+b") as file:
        file.seek(40)
        file.write(struct.pack("<Q", 0))  # where the table of sections is
        file.seek(60)
        file.write(struct.pack("<HH", 0, 0))  # how many they are, and which has their names
        file.truncate(end)
    written.replace(library)


def date(tree: Path) -> None:
    """Date everything, folders after what is in them."""
    for folder, folders, files in os.walk(tree, topdown=False):
        for name in (*files, *folders, ""):
            os.utime(Path(folder, name), (MOMENT, MOMENT), follow_symlinks=False)


def main() -> None:
    """As the command line says."""
    venv, image = Path(sys.argv[1]), sys.argv[2]
    out = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    take_out(venv, image, out)
    date(venv)


if __name__ == "__main__":
    main()
