"""A network kept on disk: keys, ports and consensus, so that the next start is fast.

A template is a folder with a few slots; each holds one network and serves one
`TorNetwork` at a time, because its ports are written into its descriptors.
Whatever goes wrong with a slot costs a slow start, never a failure.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self, cast

import platformdirs

from xmpp_onion.locks import try_lock
from xmpp_onion.testing.tordirectory import Directory

__all__ = ["Layout", "TemplateSlot", "default_template"]

# How many networks can run from one template at once.
_SLOTS = 4
# Part of the folder's name: a change of what is kept starts afresh.
_FORMAT = "v2"
_LAYOUT = "layout.json"
# The age of a consensus at which a start still leaves six hours to the limit that
# is explained at the voting interval in torrc.py.
_OLDEST = timedelta(hours=12)
# Not kept: what belongs to one life of a process.
_FLEETING = shutil.ignore_patterns(
    "tor.log", "torrc", "lock", "state", "control_auth_cookie"
)


def default_template() -> Path:
    """Return the folder for templates in this user's cache; delete it at will."""
    return Path(platformdirs.user_cache_dir("xmpp-onion")) / "tor-network"


@dataclass(frozen=True, slots=True)
class Layout:
    """What is pinned in a network's descriptors.

    Attributes:
        ports: OR port and directory port by name of node.
        valid_after: When the consensus was made.
    """

    ports: Mapping[str, tuple[int, int]]
    valid_after: datetime

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(
            {"ports": dict(self.ports), "valid_after": self.valid_after.isoformat()}
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote; a ValueError says that it is something else."""
        try:
            fields = cast("dict[str, object]", json.loads(text))
            ports = cast("dict[str, list[int]]", fields["ports"])
            return cls(
                {name: (int(pair[0]), int(pair[1])) for name, pair in ports.items()},
                datetime.fromisoformat(str(fields["valid_after"])),
            )
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError("not a layout") from error

    def all_ports(self) -> list[int]:
        """Return the ports that have to be free for a start."""
        return [port for pair in self.ports.values() for port in pair if port]

    def is_fresh(self, now: datetime) -> bool:
        """Tell whether the consensus is good for a long run of tests."""
        return self.valid_after <= now < self.valid_after + _OLDEST


class TemplateSlot:
    """One network on disk, locked for us until `release`.

    Args:
        folder: Where it lies; `claim` finds one.
        lock: The descriptor of the lock file, locked.
    """

    def __init__(self, folder: Path, lock: int) -> None:
        self._folder = folder
        self._lock = lock

    @classmethod
    def claim(cls, template: Path, relays: int) -> Self | None:
        """Return a slot that nobody uses, or None if all are in use.

        Args:
            template: Made if missing, with mode 0700: it holds keys.
            relays: Networks of different sizes have different slots.
        """
        for number in range(_SLOTS):
            folder = template / f"{_FORMAT}-{relays}-relays-{number}"
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(folder / "slot.lock", os.O_RDWR | os.O_CREAT, 0o600)
            if try_lock(lock):  # it ends with the process at the latest
                return cls(folder, lock)
            os.close(lock)
        return None

    def layout(self) -> Layout | None:
        """Return what is kept, or None if there is nothing of use."""
        try:
            layout = Layout.from_json((self._folder / _LAYOUT).read_text())
        except (OSError, ValueError):
            return None
        return layout if layout.is_fresh(datetime.now(UTC)) else None

    def restore(self, target: Path) -> None:
        """Copy the nodes' folders to where a network will run."""
        for source in self._folder.iterdir():
            if source.is_dir():
                shutil.copytree(source, target / source.name)

    def save(self, source: Path, layout: Layout, directory: Directory) -> None:
        """Keep a network.

        Args:
            source: The folder of its nodes' folders.
            layout: The ports of its authority and relays.
            directory: What a client and a relay start with, so that none has to
                download it.
        """
        self.discard()
        for node in filter(Path.is_dir, source.iterdir()):
            kept = self._folder / node.name
            _, dir_port = layout.ports.get(node.name, (0, 0))
            if dir_port:
                shutil.copytree(node, kept, ignore=_FLEETING)
                continue
            directory.write(kept, now=datetime.now(UTC))
            if node.name in layout.ports:
                shutil.copytree(node / "keys", kept / "keys")
        # Last, and at once: without it the slot counts as empty.
        draft = self._folder / f"{_LAYOUT}.new"
        draft.write_text(layout.to_json())
        draft.rename(self._folder / _LAYOUT)

    def discard(self) -> None:
        """Empty the slot."""
        (self._folder / _LAYOUT).unlink(missing_ok=True)
        for folder in self._folder.iterdir():
            if folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)

    def release(self) -> None:
        """Let others use the slot."""
        os.close(self._lock)
