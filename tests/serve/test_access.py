"""Who may ask: keys from a file, hosts, and the page of metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackwright.errors import UsageError
from stackwright.serve.access import check_public, read_keys
from stackwright.serve.metrics import BUCKETS, RequestMetrics, page

KEY = "0123456789abcdef"


def key_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "keys"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_keys_are_lines_that_are_no_comments(tmp_path: Path) -> None:
    assert len(read_keys(key_file(tmp_path, f"# one\n{KEY}\n\n  {KEY}x  \n"))) == 2
    assert KEY.encode() not in read_keys(key_file(tmp_path, KEY))


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        (KEY, 0o640, r"may be read by others \(mode 640\); run: chmod 600"),
        (KEY, 0o604, r"may be read by others"),
        ("# nothing\n\n", 0o600, "holds no key; write one key a line"),
        (f"{KEY}\nshort", 0o600, "has fewer than 16 characters"),
    ],
)
def test_a_key_file_that_is_not_safe_is_refused(tmp_path: Path, text: str, mode: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_keys(key_file(tmp_path, text, mode))


def test_a_key_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_keys(tmp_path / "absent")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "code.example.org"])
def test_others_are_served_with_keys_only(host: str) -> None:
    check_public(host, has_keys=True)
    with pytest.raises(UsageError, match=f"host {host} can be reached from outside"):
        check_public(host, has_keys=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_is_served_without_keys(host: str) -> None:
    check_public(host, has_keys=False)


def test_metrics_add_up() -> None:
    metrics = RequestMetrics()
    for seconds in (0.001, BUCKETS[0], 0.2, 99.0):
        metrics.saw("/infill", 200, seconds)
    metrics.saw("/infill", 429, 0.001)
    lines = page(metrics, {"a": ("An a.", 3)}, {"b_total": ("A b.", 1e9)}).splitlines()
    assert 'stackwright_requests_total{path="/infill",status="200"} 4' in lines
    assert 'stackwright_requests_total{path="/infill",status="429"} 1' in lines
    assert f'stackwright_request_seconds_bucket{{path="/infill",le="{BUCKETS[0]}"}} 3' in lines
    assert 'stackwright_request_seconds_bucket{path="/infill",le="30.0"} 4' in lines
    assert 'stackwright_request_seconds_bucket{path="/infill",le="+Inf"} 5' in lines
    assert 'stackwright_request_seconds_count{path="/infill"} 5' in lines
    assert lines[-6:] == [
        "# HELP a An a.",
        "# TYPE a gauge",
        "a 3",
        "# HELP b_total A b.",
        "# TYPE b_total counter",
        "b_total 1000000000",
    ]
