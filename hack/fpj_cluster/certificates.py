"""The certificates of one cluster: an authority of its own, servers,
and clients with the names Kubernetes knows.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fpj_cluster.layout import API_SERVICE_ADDRESS, NODE, NODE_ADDRESS

_LIFETIME = datetime.timedelta(days=365)
_SERVERS = ("localhost", "127.0.0.1", NODE, NODE_ADDRESS, API_SERVICE_ADDRESS) + tuple(
    f"kubernetes{suffix}"
    for suffix in ("", ".default", ".default.svc", ".default.svc.cluster.local")
)
CLIENTS = {
    "admin": ("fpj:admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", None),
    "scheduler": ("system:kube-scheduler", None),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
    "proxy": ("system:kube-proxy", None),
    "apiserver-kubelet": ("fpj:apiserver", "system:masters"),
}
"""Name of the file: the user and the group that the certificate stands for."""


@dataclass(frozen=True)
class _Authority:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def make_certificates(folder: Path) -> None:
    """Write `ca`, `server`, one pair per client, and the service accounts' key pair,
    as .crt and .key files.
    """
    folder.mkdir(mode=0o700, parents=True)
    authority = _authority()
    _write(folder, "ca", authority.key, authority.certificate)
    key = _key()
    _write(folder, "server", key, _issue(authority, key, "fpj", None, servers=_SERVERS))
    for name, (user, group) in CLIENTS.items():
        key = _key()
        _write(folder, name, key, _issue(authority, key, user, group))
    accounts = _key()
    _write_file(folder / "service-accounts.key", _pem(accounts))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    _write_file(
        folder / "service-accounts.pub",
        accounts.public_key().public_bytes(serialization.Encoding.PEM, public),
    )


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _authority() -> _Authority:
    key = _key()
    name = _name("fpj-cluster", None)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = _builder(name, name, key).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    return _Authority(key, builder.add_extension(usage, critical=True).sign(key, hashes.SHA256()))


def _issue(
    authority: _Authority,
    key: ec.EllipticCurvePrivateKey,
    user: str,
    group: str | None,
    *,
    servers: tuple[str, ...] = (),
) -> x509.Certificate:
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if servers else ExtendedKeyUsageOID.CLIENT_AUTH
    signer = authority.key.public_key()
    builder = (
        _builder(_name(user, group), authority.certificate.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )
    if servers:
        names = x509.SubjectAlternativeName([_server_name(server) for server in servers])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # clocks are set back now and then
        .not_valid_after(now + _LIFETIME)
    )


def _name(user: str, group: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _server_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # EC keys in the traditional form: what every Kubernetes component reads.
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _write(
    folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
) -> None:
    _write_file(folder / f"{name}.key", _pem(key))
    _write_file(folder / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))


def _write_file(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        target.write(content)
