"""A validating webhook that takes its time over each Job of one namespace, and then refuses it."""

import base64
import ipaddress
import json
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .calls import Calls

WRITE_SECONDS = 10.0
ANSWER_WITHIN_SECONDS = 30
"""For so long the API server waits for the webhook, and the operator for the API server."""
NAME = "slow.tftrt.example"


class SlowWebhook:
    """The server, and the configuration that has an API server ask it."""

    def __init__(self, url: str, certificate: bytes, calls: Calls) -> None:
        self.calls = calls
        self._url = url
        self._certificate = certificate

    def configuration(self, namespace: str) -> dict[str, Any]:
        """Return the object that puts the creation of Jobs in one namespace before this webhook."""
        rule = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
        webhook = {
            "name": NAME,
            "clientConfig": {"url": self._url, "caBundle": base64.b64encode(self._certificate).decode()},
            "rules": [rule],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "failurePolicy": "Fail",
            "timeoutSeconds": ANSWER_WITHIN_SECONDS,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": NAME},
            "webhooks": [webhook],
        }


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # all workers may call at once
    daemon_threads = True


@contextmanager
def slow_webhook(address: str) -> Iterator[SlowWebhook]:
    """Have the webhook run at this machine's address, on a port that is free."""
    calls = Calls()
    stopping = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
            # A dry run asks whether the webhook is in force, and is told at once.
            if not request.get("dryRun"):
                with calls.under_way(_model_of(request["object"])):
                    stopping.wait(WRITE_SECONDS)
            refused = {"code": 500, "message": "not today"}  # a code at which the operator tries again
            response = {"uid": request["uid"], "allowed": False, "status": refused}
            body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
            content = json.dumps(body).encode()
            with suppress(OSError):  # the caller has gone, as at the end of a run
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing: the calls are counted."""

    certificate, key = _self_signed(address)
    with _Server((address, 0), Handler) as server:
        # The handshake is the handling thread's: the next call need not wait for it.
        server.socket = _context(certificate, key).wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=server.serve_forever, name="webhook", daemon=True)
        thread.start()
        try:
            yield SlowWebhook(f"https://{address}:{server.server_port}/", certificate, calls)
        finally:
            stopping.set()
            server.shutdown()
            thread.join()


def _model_of(job: dict[str, Any]) -> str:
    return str(job["metadata"]["ownerReferences"][0]["name"])


def _self_signed(address: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(encoding), private


def _context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "webhook.pem"
        file.write_bytes(key + certificate)
        context.load_cert_chain(file)
    return context
