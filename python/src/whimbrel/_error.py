"""The one error that users see: a stable code, what is wrong and where, and what to do.

The pool sends it in a header of its own, `whimbrel-error-bin`; where a server or a proxy drops that, the driver's text is taken
apart instead. Neither the driver's name nor its stack reaches a user.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import adbc_driver_manager
import pyarrow

HEADER = "whimbrel-error-bin"

# The code that each gRPC status means, as the pool maps them.
CODES = {
    "InvalidArgument": "invalid",
    "OutOfRange": "invalid",
    "Unimplemented": "invalid",
    "NotFound": "not_found",
    "AlreadyExists": "exists",
    "PermissionDenied": "denied",
    "Unauthenticated": "denied",
    "DataLoss": "data",
    "Aborted": "input_changed",
    "Unavailable": "unavailable",
    "DeadlineExceeded": "unavailable",
    "ResourceExhausted": "exhausted",
    "FailedPrecondition": "model",
    "Canceled": "cancelled",
}
DRIVER_TEXT = re.compile(
    r"(?:[A-Z_]+: )?\[FlightSQL\] (?P<message>.*) \((?P<status>\w+); [^()]*(?:\([^()]*\)[^()]*)*\)(?:\. Vendor code: -?\d+)?(?:\. Detail: .*)?$",
    re.DOTALL,
)
# What the driver says of a status whose details it cannot read.
MISMATCH = re.compile(r'grpc-status-details-bin mismatch: grpc-status=(?P<status>\w+), grpc-message="(?P<message>(?:[^"\\]|\\.)*)"')
PREFIX = re.compile(r"^[A-Z_]+: (\[[^\]]*\] )?")
UNREACHABLE = re.compile(r"connection error: desc = \"(?P<why>.*)\"|(?P<name>name resolver error|no such host)", re.DOTALL)


class Error(Exception):
    """What went wrong, in one line.

    `code` is one of the pool's: `invalid`, `not_found`, `exists`, `denied`, `data`, `input_changed`, `unavailable`, `exhausted`,
    `model`, `cancelled`, `bug`; or `failed`, of a score job that has failed.
    """

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        self.code = code
        self.message = one_line(message)
        self.hint = one_line(hint) if hint else None
        super().__init__(f"{self.message}; {self.hint}" if self.hint else self.message)


def one_line(text: str) -> str:
    """Texts of other layers may hold line breaks; a user gets one line."""
    return " ".join(text.split())


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Whatever the driver raises leaves as an `Error`; `place` is the pool's address, for those that never reached it."""
    try:
        yield
    except adbc_driver_manager.Error as error:
        raise understood(str(error), error.details, place) from None
    except (pyarrow.ArrowException, OSError) as error:
        raise understood(str(error), (), place) from None


def understood(text: str, details: Iterable[tuple[str | bytes, str | bytes]], place: str) -> Error:
    """The error behind what the driver says."""
    for key, value in details:
        if _text(key).lower() == HEADER and (found := decoded(value)):
            return found
    status, message = taken_apart(text)
    if unreachable := UNREACHABLE.search(message):
        return unreached(place, unreachable["why"] or "the host name is not known")
    message, _, hint = one_line(message).partition("; ")
    return Error(CODES.get(status, "bug"), message, hint)


def taken_apart(text: str) -> tuple[str, str]:
    """The gRPC status and the message of a text of the driver."""
    if mismatch := MISMATCH.search(text):
        return mismatch["status"], re.sub(r"\\(.)", r"\1", mismatch["message"])
    if told := DRIVER_TEXT.search(text):
        return told["status"], told["message"]
    return "", PREFIX.sub("", text)


def unreached(place: str, why: str) -> Error:
    """The pool did not answer at all."""
    if "tls:" in why or "x509" in why or "authentication handshake failed" in why:
        hint = "check that the pool speaks TLS there, and its certificate; tls_ca names the file of the authority to trust"
    else:
        hint = "check the address, and that 'whimbrel scheduler' runs there"
    return Error("unavailable", f"cannot reach the pool at {place}: {why.rsplit(': ', 1)[-1]}", hint)


def decoded(value: str | bytes) -> Error | None:
    """The pool's own message, `ErrorDetail`: three texts."""
    raw = value.encode("latin-1", "replace") if isinstance(value, str) else value
    fields = _texts(raw)
    if fields is None:
        try:
            fields = _texts(base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True))
        except binascii.Error:
            return None
    if not fields or not fields.get(1) or not fields.get(2):
        return None
    return Error(fields[1], fields[2], fields.get(3))


def _texts(raw: bytes) -> dict[int, str] | None:
    """The fields of a message that has only texts, each shorter than 2 MiB; `None` where it is none."""
    fields: dict[int, str] = {}
    place = 0
    while place < len(raw):
        tag = raw[place]
        if tag & 7 != 2 or tag >> 3 not in (1, 2, 3):
            return None
        size, shift, place = 0, 0, place + 1
        while True:
            if place >= len(raw) or shift > 14:
                return None
            size |= (raw[place] & 0x7F) << shift
            shift, place = shift + 7, place + 1
            if raw[place - 1] < 0x80:
                break
        piece = raw[place : place + size]
        if len(piece) < size:
            return None
        try:
            fields[tag >> 3] = piece.decode()
        except UnicodeDecodeError:
            return None
        place += size
    return fields


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
