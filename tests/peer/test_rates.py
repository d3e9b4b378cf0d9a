"""Rates as people write them."""

import pytest

from peer.rates import LEAST_RATE, rate_text, read_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("500k", 500_000),
        ("500K", 500_000),
        ("2M", 2_000_000),
        ("2MB/s", 2_000_000),
        ("2.5M", 2_500_000),
        ("20Mbit", 2_500_000),
        ("20 Mbit/s", 2_500_000),
        ("1g", 1_000_000_000),
        ("80kbit", LEAST_RATE),
        ("64000", 64_000),
        ("64000B/s", 64_000),
    ],
)
def test_what_is_a_rate(text: str, rate: int) -> None:
    assert read_rate(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "k", "500kb", "20Mb", "-5M", "1e6", "2MiB", "5M/h", "1.M", "٥M", "2M 3M"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate: 500k or 2M"):
        read_rate(text)


@pytest.mark.parametrize("text", ["0", "500", "9k", "79kbit", "0.001M", "9" * 400])
def test_what_is_too_little_or_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="at least 10 kB/s"):
        read_rate(text)


@pytest.mark.parametrize(
    ("rate", "text"), [(10_000, "10 kB/s"), (2_500_000, "2.5 MB/s"), (999, "999 B/s"), (3 * 10**12, "3e+03 GB/s")]
)
def test_how_it_is_told(rate: int, text: str) -> None:
    assert rate_text(rate) == text
