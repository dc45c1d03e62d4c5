"""Certificates for servers of the tests: one that vouches for itself, and an authority that does so for names."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


def self_signed(address: str) -> tuple[bytes, bytes]:
    """Return a certificate for an address of this machine and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("server.tftrt.example")
    of_address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    certificate = _begun(name, name, key).add_extension(of_address, critical=False).sign(key, hashes.SHA256())
    return certificate.public_bytes(_PEM), _private(key)


@dataclass(frozen=True)
class Issuer:
    """An authority, by its own certificate in PEM and its key."""

    certificate: bytes
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls) -> Self:
        """Return one that nobody has known before."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("tests.tftrt.example")
        authority = x509.BasicConstraints(ca=True, path_length=0)
        made = _begun(name, name, key).add_extension(authority, critical=True).sign(key, hashes.SHA256())
        return cls(made.public_bytes(_PEM), key)

    def for_name(self, name: str) -> tuple[bytes, bytes]:
        """Return a certificate for a host name, which may begin with a wildcard, and its key, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        of_name = x509.SubjectAlternativeName([x509.DNSName(name)])
        begun = _begun(_name(name), x509.load_pem_x509_certificate(self.certificate).subject, key)
        made = begun.add_extension(of_name, critical=False).sign(self.key, hashes.SHA256())
        return made.public_bytes(_PEM), _private(key)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
