"""A certificate authority of a test, and what it issues: keys, certificates, and the files that settings name."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """The files of the certificate and of its key."""
        paths = directory / f"{name}.pem", directory / f"{name}.key"
        for path, content in zip(paths, (self.pem, self.key_pem), strict=True):
            path.write_bytes(content)
        return paths


class Authority:
    """`issue("dsr.example.com")`: a certificate that is good today."""

    def __init__(self, now: dt.datetime, name: str = "Test authority") -> None:
        self.now = now
        key = ec.generate_private_key(ec.SECP256R1())
        self.root = Issued(key, self._certificate(name, key, None, []))

    def issue(self, *domains: str, key: object = None, until: dt.datetime | None = None) -> Issued:
        own = key or ec.generate_private_key(ec.SECP256R1())
        return Issued(own, self._certificate(domains[0], own, self.root, domains, until))

    def revocations(
        self, *issued: Issued, until: dt.datetime | None = None, signer: "Authority | None" = None
    ) -> bytes:
        """Its list, as PEM. With a `signer`, one that another made under this name."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.root.certificate.subject)
            .last_update(self.now - 30 * DAY)
            .next_update(until or self.now + 7 * DAY)
        )
        for each in issued:
            entry = x509.RevokedCertificateBuilder().serial_number(each.certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(self.now - DAY).build())
        return builder.sign((signer or self).root.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _certificate(self, name, key, issuer, domains, until=None):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = issuer.key if issuer else key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - 30 * DAY)
            .not_valid_after(until or self.now + 90 * DAY)
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_usage(is_authority=issuer is None), critical=True)
        )
        if issuer:
            names = x509.SubjectAlternativeName([_name(each) for each in domains])
            builder = builder.add_extension(names, critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return builder.sign(signer, hashes.SHA256())


def _name(domain: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(domain))
    except ValueError:
        return x509.DNSName(domain)


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
