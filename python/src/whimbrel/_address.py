"""Where a pool is, as users write it, and as the driver wants it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from whimbrel._error import Error

RULE = "a pool is written http://host:port, as the scheduler prints its client port, or https://host:port with TLS"
PLAIN = ("http", "grpc", "grpc+tcp")
TLS = ("https", "grpc+tls")


@dataclass(frozen=True)
class Address:
    """A pool's client port."""

    authority: str
    tls: bool

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    @property
    def driver_uri(self) -> str:
        """As the driver wants it."""
        return f"{'grpc+tls' if self.tls else 'grpc'}://{self.authority}"


def parse(text: str) -> Address:
    """Understands `http://host:port`, `https://`, `grpc://`, `grpc+tls://` and `host:port`."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError:
        raise Error("invalid", f"'{text}' has no valid port", RULE) from None
    if parts.scheme not in PLAIN + TLS or parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise Error("invalid", f"'{text}' is not a pool address", RULE)
    if not parts.hostname or not port:
        raise Error("invalid", f"'{text}' names no {'port' if parts.hostname else 'host'}", RULE)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(f"{host}:{port}", parts.scheme in TLS)


def token_of_environment() -> str | None:
    """`WHIMBREL_TOKEN`, or what is in the file that `WHIMBREL_TOKEN_FILE` names, as the command takes them."""
    if token := os.environ.get("WHIMBREL_TOKEN"):
        return token
    if file := os.environ.get("WHIMBREL_TOKEN_FILE"):
        return read_file(file, "WHIMBREL_TOKEN_FILE").strip()
    return None


def read_file(path: str | os.PathLike[str], what: str) -> str:
    """A small text file that a user named."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Error("not_found", f"cannot read '{os.fspath(path)}', which {what} names: {why}", "check the path") from None
