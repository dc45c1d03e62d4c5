"""The promises of test_bucket_store.py on emulators of Azure Blob Storage and Google Cloud Storage.

`tests/tools.sh` brings them, and they are found on the PATH.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from adlfs import AzureBlobFileSystem
from azure.storage.blob.aio import BlobServiceClient
from fsspec.asyn import get_loop, sync
from gcsfs.core import GCSFileSystem

from tests.authority import Authority
from tests.box import FINGERPRINT, Box, free_ports, until
from tests.object_store import secret
from tests.test_bucket_store import FILES, pull, run
from tests.test_publish import DIGEST, prepare

# Azurite's one account, of which its documentation tells the key.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
UNCACHED = {"use_listings_cache": False, "skip_instance_cache": True}
PLACE = f"bucket/tftrt/default/{FINGERPRINT}/cpu"


class Emulator:
    """One that runs: the scheme it stands for, the Secret that leads to it, and a client of the tests' own."""

    def __init__(self, scheme: str, keys: dict[str, str], filesystem: Any) -> None:
        self.scheme, self.keys, self.filesystem = scheme, keys, filesystem

    def box(self, root: Path, build: str = "build-1") -> Box:
        """A box as `convert` leaves it, whose store is here."""
        made = Box(root, build=build)
        made.spec["artifacts"] = {"uri": f"{self.scheme}://bucket/tftrt"}
        secret(made, "artifacts", self.keys)
        secret(made, "source", self.keys)
        prepare(made, DIGEST)
        return made


def listens(port: int) -> None:

    for _ in until(f"a listener on port {port}"):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return


@pytest.fixture(params=["az", "gs"])
def emulator(request: pytest.FixtureRequest, authority: Authority, tmp_path: Path) -> Iterator[Emulator]:
    (port,) = free_ports(1)
    endpoint, place = f"https://127.0.0.1:{port}", {"hosts": f"127.0.0.1:{port}", "ca.crt": authority.text}
    if request.param == "az":
        program = shutil.which("azurite-blob")
        tls = ["--cert", str(authority.certificate), "--key", str(authority.key)]
        address = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(tmp_path / "azurite")]
        arguments = [*address, *tls, "--silent", "--skipApiVersionCheck"]
    else:
        program = shutil.which("fake-gcs-server")
        tls = ["-cert-location", str(authority.certificate), "-private-key-location", str(authority.key)]
        address = ["-host", "127.0.0.1", "-port", str(port), "-public-host", f"127.0.0.1:{port}"]
        arguments = [*address, *tls, "-backend", "memory", "-external-url", endpoint]
    if program is None:
        pytest.skip(f"the emulator of {request.param}:// is not installed")
    process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        listens(port)
        if request.param == "az":
            parts = {"AccountName": ACCOUNT, "AccountKey": ACCOUNT_KEY, "BlobEndpoint": f"{endpoint}/{ACCOUNT}"}
            text = ";".join(f"{name}={value}" for name, value in parts.items())
            made = Emulator("az", {"AZURE_STORAGE_CONNECTION_STRING": text} | place, azure(text, authority))
            made.filesystem.mkdir("bucket")
        else:
            body = json.dumps({"name": "bucket"}).encode()
            create = urllib.request.Request(
                f"{endpoint}/storage/v1/b?project=tests", body, {"Content-Type": "application/json"}
            )
            urllib.request.urlopen(create, timeout=10, context=authority.trusted()).close()
            made = Emulator("gs", {"GOOGLE_ENDPOINT_URL": endpoint} | place, google(endpoint, authority))
        yield made
    finally:
        process.terminate()
        process.wait(10)


def azure(connection_string: str, authority: Authority) -> Any:
    made = AzureBlobFileSystem(connection_string=connection_string, **UNCACHED)
    verify = str(authority.file)
    made.service_client = BlobServiceClient.from_connection_string(connection_string, connection_verify=verify)
    return made


def google(endpoint: str, authority: Authority) -> Any:
    async def connector() -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(ssl=authority.trusted())

    kept = {"connector": sync(get_loop(), connector)}
    return GCSFileSystem(endpoint_url=endpoint, token="anon", session_kwargs=kept, **UNCACHED)


def keys(emulator: Emulator) -> list[str]:
    return sorted(str(path) for path in emulator.filesystem.find("bucket"))


def test_of_writers_that_race_one_wins_and_all_report_it(emulator: Emulator, tmp_path: Path) -> None:
    boxes = [emulator.box(tmp_path / str(number), f"build-{number}") for number in range(4)]
    running = [(one, one.start("publish")) for one in boxes]
    ended = [one.finish(process) for one, process in running]
    assert [one.code for one in ended] == [0] * len(boxes), [one.log for one in ended]
    assert len({one.termination["build"] for one in ended}) == 1
    assert sorted(one.termination["result"] for one in ended) == ["Published", "Reused", "Reused", "Reused"]
    build = json.loads(emulator.filesystem.cat_file(f"{PLACE}/manifest.json"))["build"]
    assert keys(emulator) == [*(f"{PLACE}/builds/{build}/{path}" for path in FILES), f"{PLACE}/manifest.json"]


def test_what_is_published_is_found_pulled_and_deleted(emulator: Emulator, tmp_path: Path) -> None:
    box = emulator.box(tmp_path)
    published = box.run("publish")
    assert published.code == 0, published.log
    ended = box.run("lookup")
    assert ended.code == 0, ended.log
    assert [path.name for path in (box.workspace / "manifests").iterdir()] == ["cpu.json"]
    ended = pull(box, f"{emulator.scheme}://{PLACE}")
    assert ended.code == 0, ended.log
    (build,) = (box.product / "builds").iterdir()
    assert (build / FILES[0]).read_bytes() == (box.workspace / "artifact" / FILES[0]).read_bytes()
    task = {"artifacts": box.spec["artifacts"], "fingerprints": [FINGERPRINT]}
    for _ in range(2):
        ended = run(box, "delete", {"version": 1, "model": box.spec["model"], **task})
        assert ended.code == 0, ended.log
        assert keys(emulator) == []


def test_a_source_is_fetched_and_one_that_is_not_there_is_told(emulator: Emulator, tmp_path: Path) -> None:
    box = emulator.box(tmp_path)
    for path, content in {"saved_model.pb": b"model", "variables/variables.index": b"index", "empty": b""}.items():
        emulator.filesystem.pipe_file(f"bucket/models/m/{path}", content)
    box.spec["source"]["uri"] = f"{emulator.scheme}://bucket/models/m"
    ended = box.run("fetch")
    assert ended.code == 0, ended.log
    assert (box.workspace / "source/variables/variables.index").read_bytes() == b"index"
    for missing in ("bucket/models/n", "no-such-bucket/models/m"):
        box.spec["source"]["uri"] = f"{emulator.scheme}://{missing}"
        ended = box.run("fetch")
        assert (ended.code, ended.termination["reason"]) == (11, "SourceNotFound"), ended.log
        assert missing in ended.message
