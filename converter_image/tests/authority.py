"""An authority of the tests' own, as a private store has one, and a server's certificate by it."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """`ca.crt` in a folder, and a certificate with its key for 127.0.0.1 and localhost."""

    def __init__(self, folder: Path) -> None:
        self.file, self.certificate, self.key = (folder / name for name in ("ca.crt", "server.crt", "server.key"))
        own, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        root = (
            _builder(name, name, own)
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
            .sign(own, hashes.SHA256())
        )
        alternatives = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        leaf = (
            _builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")]), name, server)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own.public_key()), critical=False)
            .sign(own, hashes.SHA256())
        )
        self.file.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        self.certificate.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        self.key.write_bytes(server.private_bytes(pem, form, plain))

    @property
    def text(self) -> str:
        """What goes into a Secret's `ca.crt`."""
        return self.file.read_text()

    def trusted(self) -> ssl.SSLContext:
        """For a client that trusts it."""
        return ssl.create_default_context(cafile=str(self.file))

    def serving(self) -> ssl.SSLContext:
        """For a server that it vouches for."""
        return serving(self.certificate, self.key)


class _NotAtOnce(ssl.SSLContext):
    """Shakes hands when a connection is first read from, which is in the thread that answers it.

    A server that does so where it accepts connections stands still with the first client that does.
    """

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*arguments, **{**options, "do_handshake_on_connect": False})


def serving(certificate: Path, key: Path) -> ssl.SSLContext:
    """For a server with this certificate."""
    context = _NotAtOnce(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return made.serial_number(x509.random_serial_number()).not_valid_before(now - DAY).not_valid_after(now + DAY)
