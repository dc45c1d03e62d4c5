"""The instance's own certificate authority, and a kubeconfig for each component."""

import base64
import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .layout import Layout, NodeLayout

VALID_FOR = timedelta(days=3650)


def make(layout: Layout) -> None:
    """Write all certificates, keys and kubeconfigs but the kubelets', unless they are there."""
    if layout.kubeconfig("proxy").exists():
        return
    for folder in ("pki", "etc"):
        (layout.folder / folder).mkdir(parents=True, exist_ok=True)
    _make_authority(layout)
    service_names = [".".join(["kubernetes", "default", "svc", "cluster", "local"][:length]) for length in (1, 2, 3, 5)]
    addresses = ["127.0.0.1", layout.control_plane_address, layout.kubernetes_service]
    _leaf(layout, layout, "apiserver", "kube-apiserver", names=["localhost", *service_names, *addresses])
    _leaf(layout, layout, "kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
    _leaf(layout, layout, "front-proxy", "front-proxy-client")
    _leaf(layout, layout, "admin", "admin", "system:masters")
    _leaf(layout, layout, "controller-manager", "system:kube-controller-manager")
    _leaf(layout, layout, "scheduler", "system:kube-scheduler")
    _leaf(layout, layout, "coredns", "coredns", "system:masters")
    _leaf(layout, layout, "proxy", "system:kube-proxy")

    service_accounts = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write(layout.certificate("service-accounts.key"), _pem(service_accounts))
    public = service_accounts.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write(layout.certificate("service-accounts.pub"), public)
    for user in ("admin", "controller-manager", "scheduler", "coredns", "proxy"):
        _write_kubeconfig(layout, layout, user)


def make_kubelet(node: NodeLayout) -> None:
    """Write the certificate, key and kubeconfig of a node's kubelet, unless they are there."""
    if node.kubeconfig("kubelet").exists():
        return
    for folder in ("pki", "etc"):
        (node.folder / folder).mkdir(parents=True, exist_ok=True)
    _leaf(node.cluster, node, "kubelet", f"system:node:{node.name}", "system:nodes", [node.name, node.address])
    _write_kubeconfig(node.cluster, node, "kubelet")


def make_metrics_server(layout: Layout) -> None:
    """Write the certificate, key and kubeconfig of metrics-server, unless they are there."""
    if layout.kubeconfig("metrics-server").exists():
        return
    _leaf(layout, layout, "metrics-server", "metrics-server", "system:masters", ["metrics-server.kube-system.svc"])
    _write_kubeconfig(layout, layout, "metrics-server")


def _make_authority(layout: Layout) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("tftrt-test-ca", "")
    certificate = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(layout.certificate("ca.crt"), certificate.public_bytes(serialization.Encoding.PEM))
    _write(layout.certificate("ca.key"), _pem(key))


def _leaf(
    layout: Layout,
    place: Layout | NodeLayout,
    file: str,
    common_name: str,
    organization: str = "",
    names: Sequence[str] = (),
) -> None:
    """Have the instance's authority sign a new key, and write both where they belong."""
    authority = x509.load_pem_x509_certificate(layout.certificate("ca.crt").read_bytes())
    authority_key = serialization.load_pem_private_key(layout.certificate("ca.key").read_bytes(), password=None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_name(common_name, organization), authority.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        # Python 3.13 and newer verify strictly, and want to know the issuer's key.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(n) for n in names]), critical=False)
    certificate = builder.sign(authority_key, hashes.SHA256())
    _write(place.certificate(f"{file}.crt"), certificate.public_bytes(serialization.Encoding.PEM))
    _write(place.certificate(f"{file}.key"), _pem(key))


def _write_kubeconfig(layout: Layout, place: Layout | NodeLayout, user: str) -> None:
    def encoded(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    authority = encoded(layout.certificate("ca.crt"))
    cluster = {"server": layout.api_server, "certificate-authority-data": authority}
    client = {
        "client-certificate-data": encoded(place.certificate(f"{user}.crt")),
        "client-key-data": encoded(place.certificate(f"{user}.key")),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tftrt", "cluster": cluster}],
        "users": [{"name": user, "user": client}],
        "contexts": [{"name": "tftrt", "context": {"cluster": "tftrt", "user": user}}],
        "current-context": "tftrt",
    }
    path = place.kubeconfig(user)
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


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
