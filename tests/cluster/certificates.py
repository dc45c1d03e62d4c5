"""The instance's own certificate authority, and a kubeconfig for each component."""

import base64
import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .layout import Layout

VALID_FOR = timedelta(days=3650)


def make(layout: Layout) -> None:
    """Write all certificates, keys and kubeconfigs, unless they are there."""
    if layout.kubeconfig("proxy").exists():
        return
    for folder in ("pki", "etc"):
        (layout.folder / folder).mkdir(parents=True, exist_ok=True)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    name = _name("tftrt-test-ca", "")
    authority = (
        _builder(name, name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _write(layout, "ca.crt", authority.public_bytes(serialization.Encoding.PEM))
    _write(layout, "ca.key", _pem(authority_key))

    def leaf(file: str, common_name: str, organization: str = "", names: Sequence[str] = ()) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_name(common_name, organization), name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            # Python 3.13 and newer verify strictly, and want to know the issuer's key.
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(n) for n in names]), critical=False
            )
        certificate = builder.sign(authority_key, hashes.SHA256())
        _write(layout, f"{file}.crt", certificate.public_bytes(serialization.Encoding.PEM))
        _write(layout, f"{file}.key", _pem(key))

    service_names = [".".join(["kubernetes", "default", "svc", "cluster", "local"][:length]) for length in (1, 2, 3, 5)]
    leaf(
        "apiserver",
        "kube-apiserver",
        names=["localhost", *service_names, "127.0.0.1", layout.node_address, layout.kubernetes_service],
    )
    leaf("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
    leaf("front-proxy", "front-proxy-client")
    leaf("admin", "admin", "system:masters")
    leaf("controller-manager", "system:kube-controller-manager")
    leaf("scheduler", "system:kube-scheduler")
    leaf("coredns", "coredns", "system:masters")
    leaf("kubelet", f"system:node:{layout.node}", "system:nodes", [layout.node, layout.node_address])
    leaf("proxy", "system:kube-proxy")

    service_accounts = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write(layout, "service-accounts.key", _pem(service_accounts))
    public = service_accounts.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write(layout, "service-accounts.pub", public)
    for user in ("admin", "controller-manager", "scheduler", "coredns", "kubelet", "proxy"):
        _write_kubeconfig(layout, user)


def _write_kubeconfig(layout: Layout, user: str) -> None:
    def encoded(file: str) -> str:
        return base64.b64encode(layout.certificate(file).read_bytes()).decode()

    cluster = {"server": layout.api_server, "certificate-authority-data": encoded("ca.crt")}
    client = {
        "client-certificate-data": encoded(f"{user}.crt"),
        "client-key-data": encoded(f"{user}.key"),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tftrt", "cluster": cluster}],
        "users": [{"name": user, "user": client}],
        "contexts": [{"name": "tftrt", "context": {"cluster": "tftrt", "user": user}}],
        "current-context": "tftrt",
    }
    path = layout.kubeconfig(user)
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + VALID_FOR)
    )


def _name(common_name: str, organization: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(layout: Layout, name: str, content: bytes) -> None:
    path = layout.certificate(name)
    path.write_bytes(content)
    path.chmod(0o600)
