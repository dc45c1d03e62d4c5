"""A real S3 endpoint on an address of this machine, with a client of it."""

import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

import boto3
import httpx

from .certificates import self_signed
from .waiting import eventually

ACCESS_KEY, SECRET_KEY, REGION = "tftrt-test", "tftrt-test-secret", "us-east-1"


class ObjectStore:
    """moto's S3 server: a process of its own that speaks S3 over TLS, by a certificate that only its Secret knows."""

    def __init__(self, address: str) -> None:
        with socket.create_server((address, 0)) as probe:
            port = probe.getsockname()[1]
        self.endpoint = f"https://{address}:{port}"
        self._folder = tempfile.TemporaryDirectory(prefix="object-store-")
        self._certificate, key = Path(self._folder.name, "server.crt"), Path(self._folder.name, "server.key")
        for file, content in zip((self._certificate, key), self_signed(address), strict=True):
            file.write_bytes(content)
        tls = ["--ssl-cert", str(self._certificate), "--ssl-key", str(key)]
        command = [sys.executable, "-m", "moto.server", "--host", address, "--port", str(port), *tls]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._answers, seconds=30)
        self.client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
            verify=str(self._certificate),
        )

    def close(self) -> None:
        """End the server."""
        self._process.terminate()
        self._process.wait(10)
        self._folder.cleanup()

    def secret(self) -> dict[str, str]:
        """Return what a Secret that opens the store holds."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "hosts": self.endpoint.removeprefix("https://"),
            "ca.crt": self._certificate.read_text(),
        }

    def upload(self, bucket: str, prefix: str, folder: Path) -> None:
        """Put a folder's files under a prefix."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.client.upload_file(str(file), bucket, f"{prefix}/{file.relative_to(folder)}")

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the keys that begin with a prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def _answers(self) -> bool:
        try:
            return (
                httpx.get(
                    self.endpoint, timeout=2, verify=ssl.create_default_context(cafile=self._certificate)
                ).status_code
                < 500
            )
        except httpx.HTTPError:
            return False
