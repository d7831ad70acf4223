"""What a Tor directory authority hands out, fetched and read.

Source: Tor directory protocol, version 3, sections 3 and 4.
"""

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from xmpp_onion.errors import TorError
from xmpp_onion.testing.torrc import LOOPBACK

__all__ = ["Directory", "count_relays", "fetch", "fetch_directory", "valid_after"]

_CONSENSUS = "/tor/status-vote/current/consensus-microdesc"
_TIME = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class Directory:
    """All that a client needs to know about the network.

    A client that finds it on disk skips the download, whose back-off costs two
    to ten seconds at random on a network that is just born.

    Attributes:
        consensus: Which relays there are, signed by the authority.
        microdescriptors: Their keys.
        certificates: The authority's.
    """

    consensus: bytes
    microdescriptors: bytes
    certificates: bytes

    def write(self, data_dir: Path, *, now: datetime) -> None:
        """Put it where a tor with this data directory looks at its start."""
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        stamp = f"@last-listed {now.astimezone(UTC):{_TIME}}\n".encode()
        parts = re.split(rb"(?m)^(?=onion-key\n)", self.microdescriptors)
        cached = b"".join(stamp + part for part in parts if part.strip())
        (data_dir / "cached-microdesc-consensus").write_bytes(self.consensus)
        (data_dir / "cached-microdescs").write_bytes(cached)
        (data_dir / "cached-certs").write_bytes(self.certificates)


async def fetch(port: int, path: str) -> bytes | None:
    """Get a document from a directory port on loopback.

    Returns:
        The document, or None if the authority has none (yet), or nothing
        listens (yet).
    """
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return None
    try:
        writer.write(
            f"GET {path} HTTP/1.0\r\nAccept-Encoding: identity\r\n\r\n".encode()
        )
        answer = await reader.read(-1)
    except OSError:
        return None
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return body if re.match(rb"HTTP/1\.\d 200 ", head) else None


async def fetch_directory(port: int) -> Directory | None:
    """Get consensus, microdescriptors and certificates, or None before the vote."""
    consensus = await fetch(port, _CONSENSUS)
    if consensus is None:
        return None
    digests = [found.decode() for found in re.findall(rb"(?m)^m (\S+)$", consensus)]
    microdescriptors = await fetch(port, "/tor/micro/d/" + "-".join(digests))
    certificates = await fetch(port, "/tor/keys/all")
    if microdescriptors is None or certificates is None:
        return None
    return Directory(consensus, microdescriptors, certificates)


def count_relays(document: bytes) -> int:
    """Return how many relays stand in a list of descriptors or a consensus."""
    return len(re.findall(rb"(?m)^(?:router|r) ", document))


def valid_after(consensus: bytes) -> datetime:
    """Return when the consensus was agreed upon."""
    found = re.search(rb"(?m)^valid-after (.+)$", consensus)
    if found is None:
        raise TorError("the network's consensus is malformed", why="no valid-after")
    return datetime.strptime(found[1].decode(), _TIME).replace(tzinfo=UTC)
