"""Which versions are known to have holes, and what Debian mended."""

import gzip
from pathlib import Path

import pytest

from xmpp_onion.errors import ServerError
from xmpp_onion.server.versions import (
    judge_prosody,
    judge_tls,
    read_fixes,
)

MENDED = frozenset(f"CVE-2026-4350{number}" for number in "4567")


@pytest.mark.parametrize(
    ("version", "fixes", "is_well"),
    [
        ("0.12.3", ("0.12.3", MENDED), True),
        ("0.12.3", ("0.12.3", MENDED - {"CVE-2026-43505"}), False),
        ("0.12.3", ("", frozenset()), False),
        ("0.12.5", ("0.12.3", MENDED), False),  # not the one that Debian mended
        ("0.12.6", ("", frozenset()), True),
        ("13.0.1", ("0.12.3", MENDED), False),
        ("13.0.1", ("13.0.1", MENDED), True),
        ("13.0.4", ("", frozenset()), False),
        ("13.0.5", ("", frozenset()), True),
        ("13.1.0", ("", frozenset()), True),
        ("0.11.9", ("0.11.9", MENDED), False),
    ],
)
def test_a_prosody_with_a_known_hole_is_a_fault(
    version: str, fixes: tuple[str, frozenset[str]], *, is_well: bool
) -> None:
    finding = judge_prosody(version, fixes)

    assert version in str(finding)
    assert isinstance(finding, ServerError) != is_well


def test_a_prosody_that_nobody_sees_is_no_all_clear() -> None:
    assert "not seen" in str(judge_prosody("", ("", frozenset())))


TLS_MENDED = frozenset(
    {
        "CVE-2022-3602", "CVE-2022-3786", "CVE-2023-0286", "CVE-2023-2650",
        "CVE-2024-2511", "CVE-2024-4741",
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("version", "fixes", "is_well"),
    [
        ("", ("3.0.19", frozenset()), True),
        ("OpenSSL 3.0.2 15 Mar 2022", ("3.0.19", frozenset()), True),
        ("OpenSSL 3.0.14 4 Jun 2024", ("", frozenset()), True),
        ("OpenSSL 3.0.13 30 Jan 2024", ("", frozenset()), False),
        ("", ("3.0.2", TLS_MENDED), True),
        ("", ("3.0.2", TLS_MENDED - {"CVE-2024-2511"}), False),
        ("OpenSSL 3.2.1 30 Jan 2024", ("", frozenset()), False),
        ("OpenSSL 3.5.1 1 Jul 2025", ("", frozenset()), True),
        ("OpenSSL 1.1.1w 11 Sep 2023", ("", frozenset()), False),
    ],
)
def test_an_openssl_with_a_known_hole_is_a_fault(
    version: str, fixes: tuple[str, frozenset[str]], *, is_well: bool
) -> None:
    finding = judge_tls(version, fixes, is_replaced=False)

    assert isinstance(finding, ServerError) != is_well


def test_an_openssl_that_was_replaced_since_the_start_is_a_fault() -> None:
    finding = judge_tls("", ("3.0.19", frozenset()), is_replaced=True)

    assert isinstance(finding, ServerError)
    assert "not seen" in str(judge_tls("", ("", frozenset()), is_replaced=False))


def test_what_debian_mended_is_read_from_its_list_of_changes(tmp_path: Path) -> None:
    path = tmp_path / "changelog.Debian.gz"
    path.write_bytes(
        gzip.compress(b"prosody (0.12.3-1+deb12u1) x; y\n\n  * CVE-2026-43504 fix\n")
    )
    torn = tmp_path / "torn.gz"
    torn.write_bytes(path.read_bytes()[:-12])

    assert read_fixes(path) == ("0.12.3", frozenset({"CVE-2026-43504"}))
    assert read_fixes(torn) == ("", frozenset())
    assert read_fixes(tmp_path / "none") == ("", frozenset())
