"""Redaction finds what names people, leaves what names nobody, and never writes a value into the evidence."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.curate.pii import PLACEHOLDERS, find_spans, redact

KINDS = ("email", "ip_address", "private_key")
KEY = b"k" * 32
BODY = "\n".join(["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"] * 5)
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n-----END RSA PRIVATE KEY-----"


def found(text: str) -> list[str]:
    return [text[span.start : span.end] for span in find_spans(text, KINDS)]


@pytest.mark.parametrize(
    "value",
    [
        "jane.doe@firm.de",
        "x+tag@sub.domain.co.uk",
        "under_score@a-b.io",
        "93.184.216.34",
        "2606:2800:220:1:248:1893:25c8:1946",
    ],
)
def test_values_are_found_in_their_usual_surroundings(value: str) -> None:
    for text in (value, f"author = '{value}'", f"({value})", f"<{value}>", f"to {value}, and", f"see {value}."):
        assert found(text) == [value], text


@pytest.mark.parametrize(
    "text",
    [
        "user@example.com",
        "someone@mail.example.org",
        "a@host.invalid",
        "me@localhost",
        "git@github.com:owner/repo.git",
        "icon@2x.png",
        "@decorator.method",
        "a @ b.c",
        "x = y@matrix.T",
        "version 4.0.1.2",
        "Version: 10.20.30.40",
        "__version__ = '11.22.33.44'",
        "v10.0.19.41",
        "1.2.3.4",
        "127.0.0.1 10.1.2.3 192.168.0.17 172.16.5.4 169.254.1.1 0.0.0.0 255.255.255.255",
        "8.8.8.8 1.1.1.1 208.67.222.222",
        "2019.10.11.120",
        "256.300.1.1",
        "1.3.6.1.4.1.311.21.20",
        "::1 fe80::1 2001:db8::1",
        "12:34:56",
        "a::b::c and std::vector::iterator",
        "-----BEGIN PRIVATE KEY-----",
        "if 'PRIVATE KEY' in text:",
        "-----BEGIN PUBLIC KEY-----\n" + BODY,
    ],
)
def test_what_names_nobody_is_left_alone(text: str) -> None:
    assert found(text) == []


def test_a_short_address_counts_only_near_a_server() -> None:
    assert found("nameserver 4.2.2.1") == ["4.2.2.1"]
    assert found("4.2.2.1 is the dns") == ["4.2.2.1"]
    assert found("4.2.2.1" + " " * 120 + "server") == []


@pytest.mark.parametrize(
    "text",
    [
        PEM,
        PEM.replace("RSA ", ""),
        PEM.replace("RSA", "OPENSSH"),
        PEM.replace("\n", "\\n"),
        PEM.replace("RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"),
    ],
)
def test_key_blocks_are_found_whole(text: str) -> None:
    assert found(f"key = '''{text}'''\nother = 1") == [text]


def test_a_key_whose_end_was_cut_off_is_still_redacted() -> None:
    text = f"before\n-----BEGIN PRIVATE KEY-----\n{BODY}"
    assert redact(text, KINDS, KEY).text == "before\n<KEY>"


def test_replacement_leaves_the_rest_and_counts_every_span() -> None:
    text = f"a jane@firm.de b 93.184.216.34 c {PEM} d jane@firm.de"
    redaction = redact(text, KINDS, KEY)
    assert redaction.text == "a <EMAIL> b <IP_ADDRESS> c <KEY> d <EMAIL>"
    assert [fired.reason for fired in redaction.fired] == ["email", "ip_address", "private_key", "email"]
    for fired in redaction.fired:
        assert fired.start is not None
        assert fired.end is not None
        assert text[fired.start : fired.end] in text


def test_evidence_is_a_keyed_hash_and_never_the_value() -> None:
    first, second, third = redact("jane@firm.de jane@firm.de john@firm.de", KINDS, KEY).fired
    assert first.matched == second.matched != third.matched
    assert re.fullmatch(r"hmac-sha256:[0-9a-f]{16}", first.matched or "")
    assert redact("jane@firm.de", KINDS, b"other key").fired[0].matched != first.matched


def test_each_kind_can_be_left_out() -> None:
    text = f"jane@firm.de 93.184.216.34 {PEM}"
    for kind in KINDS:
        others = tuple(name for name in KINDS if name != kind)
        assert PLACEHOLDERS[kind] not in redact(text, others, KEY).text
        assert PLACEHOLDERS[kind] in redact(text, (kind,), KEY).text
    assert redact(text, (), KEY).text == text


def test_spans_that_overlap_become_one() -> None:
    text = f"-----BEGIN PRIVATE KEY-----\n{BODY}\nProc-Type: 4, ENCRYPTED jane\n93.184.216.34\n{BODY}"
    spans = find_spans(text, KINDS)
    assert all(before.end <= after.start for before, after in itertools.pairwise(spans))


PIECES = st.sampled_from(
    [
        "jane@firm.de",
        "93.184.216.34",
        PEM,
        "a.b@c",
        "1.2.3.4.5",
        "@",
        ".",
        ":",
        "::1",
        " ",
        "x",
        "\n",
        "-----BEGIN PRIVATE KEY-----",
    ]
)


@given(st.lists(PIECES | st.text(max_size=8), max_size=12))
def test_spans_are_ordered_disjoint_and_redaction_rebuilds_the_rest(parts: list[str]) -> None:
    text = "".join(parts)
    spans = find_spans(text, KINDS)
    assert all(before.end <= after.start for before, after in itertools.pairwise(spans))
    expected, end = "", 0
    for span in spans:
        expected += text[end : span.start] + PLACEHOLDERS[span.kind]
        end = span.end
    assert redact(text, KINDS, KEY).text == expected + text[end:]


@pytest.mark.parametrize("unit", ["a", "a.", "a@", "@a.", "1.", "1:", ":", "a:", "-----BEGIN PRIVATE KEY-----", "a@a."])
def test_a_megabyte_of_nearly_matching_text_is_handled(unit: str) -> None:
    find_spans(unit * (1_000_000 // len(unit)), KINDS)
