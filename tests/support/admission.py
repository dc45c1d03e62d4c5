"""A real admission webhook on this machine, which an API server asks over HTTPS."""

import base64
import json
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .certificates import self_signed

Json = dict[str, Any]
Review = Callable[[Json], Json]
"""From an AdmissionRequest to an AdmissionResponse, less its uid."""


@dataclass(frozen=True)
class Webhook:
    """Where it answers, and by what certificate."""

    url: str
    certificate: bytes

    def configuration(self, kind: str, name: str, namespace: str, rule: Json, timeout_seconds: int = 10) -> Json:
        """Return the ValidatingWebhookConfiguration or MutatingWebhookConfiguration for one namespace."""
        webhook = {
            "name": f"{name}.tftrt.example",
            "clientConfig": {"url": self.url, "caBundle": base64.b64encode(self.certificate).decode()},
            "rules": [rule],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "failurePolicy": "Fail",
            "timeoutSeconds": timeout_seconds,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": f"{name}-{namespace}"},
            "webhooks": [webhook],
        }


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # all workers of an operator may call at once
    daemon_threads = True


@contextmanager
def webhook(address: str, review: Review) -> Iterator[Webhook]:
    """Have a webhook run at this machine's address, on a port that is free."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
            response = {"uid": request["uid"], **review(request)}
            body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(OSError):  # the caller has gone
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    certificate, key = self_signed(address)
    with _Server((address, 0), Handler) as server:
        # The handshake is the handling thread's: the next call need not wait for it.
        server.socket = _context(certificate, key).wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=server.serve_forever, name="webhook", daemon=True)
        thread.start()
        try:
            yield Webhook(f"https://{address}:{server.server_port}/", certificate)
        finally:
            server.shutdown()
            thread.join()


def patching(*operations: Json) -> Json:
    """Return the response that allows what is asked, changed by these operations of a JSON patch."""
    patch = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": patch}


def _context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "webhook.pem"
        file.write_bytes(key + certificate)
        context.load_cert_chain(file)
    return context
