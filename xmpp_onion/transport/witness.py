"""The kernel as a witness: where a process has connections to, and listens."""

import ipaddress
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["connections", "is_beside_tor", "listeners"]

_PROC = Path("/proc/self")
_TABLES = ("tcp", "tcp6", "udp", "udp6", "raw", "raw6")
# A resolver may listen here, and asks others.
_NAMES = 53
# TCP_LISTEN; and TCP_CLOSE, which is what a UDP socket with no one far end shows
# (Linux, include/net/tcp_states.h).
_OPEN_STATES = frozenset({"0A", "07"})


def connections(proc: Path = _PROC) -> frozenset[tuple[str, int]] | None:
    """Return address and port of each far end of ours, as the kernel knows them.

    None where the kernel does not tell, as on macOS. Unix sockets do not count.

    Args:
        proc: Of the process; another one's can be read by its user and by root.
    """
    try:
        found = [_read_end(row[2]) for row in _rows(proc)]
    except OSError:
        return None
    return frozenset(end for end in found if end[1])


def listeners(proc: Path) -> frozenset[tuple[str, int]] | None:
    """Return where a process can be reached, by TCP and UDP.

    A UDP socket that asks somebody counts as well, for it takes answers.
    None where the kernel does not tell.

    Args:
        proc: Of the process; another one's can be read by its user and by root.
    """
    try:
        return frozenset(
            _read_end(row[1]) for row in _rows(proc) if row[3] in _OPEN_STATES
        )
    except OSError:
        return None


def is_beside_tor(end: tuple[str, int], tor: frozenset[tuple[str, int]]) -> bool:
    """Tell whether a connection may leave this machine otherwise than by Tor.

    Args:
        end: The far end.
        tor: The ports of Tor that we use, wherever it runs.
    """
    address, port = end
    if end in tor:
        return False
    return not ipaddress.ip_address(address).is_loopback or port == _NAMES


def _rows(proc: Path) -> Iterator[Sequence[str]]:
    """Yield the rows of /proc/net that are about sockets of a process."""
    own = frozenset(_inodes(proc / "fd"))
    for table in _TABLES:
        if not (proc / "net" / table).exists():
            continue
        for line in (proc / "net" / table).read_text().splitlines()[1:]:
            if (row := line.split())[9] in own:
                yield row


def _inodes(folder: Path) -> Iterator[str]:
    for entry in list(folder.iterdir()):
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue  # it was closed meanwhile: the one that we list with, at least
        if target.startswith("socket:["):
            yield target.removeprefix("socket:[").rstrip("]")


def _read_end(text: str) -> tuple[str, int]:
    """Read an address of /proc/net: words of 32 bits as this machine has them."""
    digits, _, port = text.partition(":")
    words = (digits[i : i + 8] for i in range(0, len(digits), 8))
    address = ipaddress.ip_address(
        b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
    )
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address), int(port, 16)
