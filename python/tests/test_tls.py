"""TLS as the client sees it: a proxy with certificates of its own stands before a pool, so that each side of a handshake can be wrong."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import whimbrel
from processes import Cluster


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / f"{name}.pem"
        certificate = self._signed(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *extensions: x509.ExtensionType) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
        )
        made = made.not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + datetime.timedelta(hours=1))
        for extension in extensions:
            made = made.add_extension(extension, critical=False)
        return made.sign(self._key, hashes.SHA256())

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate for this machine's own address, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        files = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        files[0].write_bytes(self._signed(subject, key.public_key(), address).public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return files


class Proxy:
    """Takes TLS off and passes the bytes on."""

    def __init__(self, target: str, context: ssl.SSLContext) -> None:
        host, port = target.removeprefix("http://").rsplit(":", 1)
        self._target, self._context = (host, int(port)), context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            # Two threads cannot share one TLS socket, so each connection waits for either side in turns.
            with self._context.wrap_socket(raw, server_side=True) as near, socket.create_connection(self._target) as far:
                near.settimeout(0.01)
                far.settimeout(0.01)
                while True:
                    for source, sink in ((near, far), (far, near)):
                        try:
                            piece = source.recv(65536)
                        except TimeoutError:
                            continue
                        if not piece:
                            return
                        sink.settimeout(10)
                        sink.sendall(piece)
                        sink.settimeout(0.01)
        except OSError:
            # A handshake that the other side refuses is what some tests are about.
            return

    def stop(self) -> None:
        self._listener.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def context(authority: Authority) -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.load_cert_chain(*authority.issue("server"))
    made.set_alpn_protocols(["h2"])
    return made


@pytest.fixture
def proxy(cluster: Cluster, authority: Authority) -> Iterator[Proxy]:
    made = Proxy(cluster.url, context(authority))
    yield made
    made.stop()


@pytest.fixture
def strict(cluster: Cluster, authority: Authority) -> Iterator[Proxy]:
    """It asks for the client's certificate too."""
    asks = context(authority)
    asks.verify_mode = ssl.CERT_REQUIRED
    asks.load_verify_locations(authority.file)
    made = Proxy(cluster.url, asks)
    yield made
    made.stop()


def ask(uri: str, **options: object) -> list[dict[str, object]]:
    with whimbrel.connect(uri, **options) as pool:  # type: ignore[arg-type]
        return pool.sql("SELECT 1 AS a").to_rows()


def test_the_authority_must_be_trusted(proxy: Proxy, authority: Authority, tmp_path: Path) -> None:
    assert ask(proxy.url, tls_ca=authority.file) == [{"a": 1}]
    assert ask(proxy.url.replace("https", "grpc+tls"), tls_ca=str(authority.file)) == [{"a": 1}]
    assert ask(proxy.url, insecure_skip_verify=True) == [{"a": 1}]
    other = Authority(tmp_path, "other")
    for options in ({}, {"tls_ca": other.file}):
        with pytest.raises(whimbrel.Error) as caught:
            ask(proxy.url, **options)
        assert caught.value.code == "unavailable"
        assert str(caught.value).startswith(f"cannot reach the pool at {proxy.url}: certificate signed by unknown authority")
        assert "tls_ca names the file" in str(caught.value)
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for options in ({"tls_ca": broken}, {"tls_ca": authority.file, "tls_cert": broken, "tls_key": broken}):
        with pytest.raises(whimbrel.Error, match="holds no certificate or no key that fits; give PEM files"):
            ask(proxy.url, **options)


def test_a_pool_may_ask_for_the_clients_certificate(strict: Proxy, authority: Authority) -> None:
    certificate, key = authority.issue("client")
    assert ask(strict.url, tls_ca=authority.file, tls_cert=certificate, tls_key=key) == [{"a": 1}]
    with pytest.raises(whimbrel.Error) as caught:
        ask(strict.url, tls_ca=authority.file)
    assert caught.value.code == "unavailable"


def test_a_pool_without_tls_is_not_spoken_to_in_it(proxy: Proxy) -> None:
    with pytest.raises(whimbrel.Error) as caught:
        whimbrel.connect(proxy.url.replace("https", "http"))
    assert caught.value.code == "unavailable" and "\n" not in str(caught.value)
