"""The tests' own Kubernetes as a process of its own, which is reached as any cluster is: by a kubeconfig, over TLS, with a token.

`python -m tests.kubernetes_apart FOLDER` starts one, and stops it when its standard input ends; FOLDER/kubeconfig.yaml leads to it.
`--without-kueue`: one on which Kueue is not installed.
"""

from __future__ import annotations

import ipaddress
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.kubernetes_cluster import Cluster

REPOSITORY = Path(__file__).resolve().parents[1]
KUBECONFIG = "kubeconfig.yaml"


def certificate(name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None) -> tuple[bytes, bytes, Any]:
    """Give a certificate for a name, its key, and both as objects, signed by an authority or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer[0].subject if issuer else subject, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(pem), secret, (made, key)


@contextmanager
def started(folder: Path, *options: str) -> Iterator[Path]:
    """Start a cluster in a process of its own, and give the kubeconfig that leads to it."""
    command = [sys.executable, "-m", "tests.kubernetes_apart", str(folder), *options]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield folder / KUBECONFIG
        assert server.stdin is not None
        server.stdin.close()
        assert server.wait(60) == 0


def main(folder: Path, *options: str) -> None:
    """Be a cluster until standard input ends."""
    authority, _, signer = certificate("the authority")
    made, key, _ = certificate("server", signer)
    (folder / "server.pem").write_bytes(made + key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "server.pem")
    cluster = Cluster(folder, tls=tls, kueue="--without-kueue" not in options)
    cluster.kubeconfig(folder, authority=authority)
    print("ready", flush=True)
    sys.stdin.read()
    cluster.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
