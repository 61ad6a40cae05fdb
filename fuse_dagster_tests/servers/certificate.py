"""Certificates for servers of the tests that talk TLS, by an authority that is made for them."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def certificate(folder: Path) -> Path:
    """Make a certificate for `localhost`, what is below it, and 127.0.0.1, of an authority of its own.

    Args:
        folder: Where it is to lie, as `cert.pem`, with its key and the certificate of its authority.

    Returns:
        The file: both for a server that shows it, and for a client that is to trust it.
    """
    ours, theirs = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _name("an authority of the tests")
    root = (
        _begun(authority, authority, theirs)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(theirs, hashes.SHA256())
    )
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in ("localhost", "tapes.localhost")]
    names.append(x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")))
    shown = (
        _begun(_name("localhost"), authority, ours)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(theirs, hashes.SHA256())
    )
    file = folder / "cert.pem"
    private = ours.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(b"".join(part.public_bytes(serialization.Encoding.PEM) for part in (shown, root)) + private)
    return file


def showing(file: Path) -> ssl.SSLContext:
    """What a server of Python needs to talk TLS with such a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _begun(name: x509.Name, by: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    return x509.CertificateBuilder(by, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
