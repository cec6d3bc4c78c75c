"""The driver's words are taken apart: code, message and hint stay, and nothing else does."""

from __future__ import annotations

import base64

import pytest

from whimbrel._error import Error, taken_apart, understood

PLACE = "http://host:1"


@pytest.mark.parametrize(
    ("text", "code", "message", "hint"),
    [
        ("NOT_FOUND: [FlightSQL] no model 'x'; bind one (NotFound; Prepare)", "not_found", "no model 'x'", "bind one"),
        ('[FlightSQL] a (b) c (DataLoss; DoGet: endpoint 0: [uri:"grpc+tcp://h:1"])', "data", "a (b) c", None),
        ("CANCELLED: [FlightSQL] context canceled (Canceled; ExecuteQuery). Vendor code: 1", "cancelled", "context canceled", None),
        ("IO: [FlightSQL] two\nlines (Unavailable; ExecuteQuery)", "unavailable", "two lines", None),
        (
            'INTERNAL: [FlightSQL] grpc-status-details-bin mismatch: grpc-status=InvalidArgument, grpc-message="say \\"x\\"", '
            'grpc-status-details-bin=message:"y" (Internal; Prepare)',
            "invalid",
            'say "x"',
            None,
        ),
        ("something else", "bug", "something else", None),
    ],
)
def test_texts_of_the_driver(text: str, code: str, message: str, hint: str | None) -> None:
    error = understood(text, (), PLACE)
    assert (error.code, error.message, error.hint) == (code, message, hint)


def test_a_pool_that_does_not_answer() -> None:
    text = 'IO: [FlightSQL] connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused" (Unavailable; Prepare)'
    error = understood(text, (), PLACE)
    assert (
        str(error)
        == "cannot reach the pool at http://host:1: connection refused; check the address, and that 'whimbrel scheduler' runs there"
    )


def detail(*texts: str) -> bytes:
    fields = ((place << 3 | 2, text.encode()) for place, text in enumerate(texts, 1) if text)
    return b"".join(
        bytes([tag]) + (bytes([len(raw)]) if len(raw) < 128 else bytes([len(raw) & 127 | 128, len(raw) >> 7])) + raw for tag, raw in fields
    )


def test_the_pools_own_header_comes_before_any_text() -> None:
    raw = detail("exhausted", "the ; is part of " + "m" * 200, "do it")
    for value in (raw, base64.b64encode(raw), base64.b64encode(raw).rstrip(b"=").decode()):
        error = understood("[FlightSQL] other (Internal; X)", [(b"date", b"now"), ("whimbrel-error-bin", value)], PLACE)
        assert (error.code, error.message, error.hint) == ("exhausted", "the ; is part of " + "m" * 200, "do it")
    without = understood("", [("whimbrel-error-bin", detail("denied", "no", ""))], PLACE)
    assert (without.code, without.hint) == ("denied", None)


@pytest.mark.parametrize(
    "broken", [b"", b"\xff", b"\x0a\x05ab", b"\x0a\xff\xff\xff\xff", b"\x12\x01\xff", b"!!", "%%", detail("", "x", "")]
)
def test_a_broken_header_is_passed_over(broken: bytes | str) -> None:
    error = understood("[FlightSQL] told (NotFound; X)", [("whimbrel-error-bin", broken)], PLACE)
    assert (error.code, error.message) == ("not_found", "told")


def test_an_error_is_one_line() -> None:
    assert str(Error("invalid", "a\n  b", "c\td")) == "a b; c d"
    assert taken_apart("plain") == ("", "plain")
