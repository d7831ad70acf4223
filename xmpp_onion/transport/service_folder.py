"""An onion service as a folder that Tor reads, because then it tells circuits apart.

Every guest of an onion service comes from 127.0.0.1. Tor can say before a connection
of which circuit it is, so that a server has something to count by, but for a service
out of its configuration only: ADD_ONION knows no such thing (0.4.9).

Source: tor(1), HiddenServiceExportCircuitID; rend-spec-v3, section G.
"""

import logging
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xmpp_onion import private
from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import ControlPortError, StoreError, TorNotRunningError
from xmpp_onion.transport.control import Control
from xmpp_onion.transport.guard import Guard

__all__ = ["CircuitPort", "ServiceFolder", "read_options"]

log = logging.getLogger(__name__)

# What stands before the key in Tor's file (rend-spec-v3, section G): 32 bytes.
_HEAD: Final = b"== ed25519v1-secret: type0 ==\0\0\0"


@dataclass(frozen=True, slots=True)
class CircuitPort:
    """Where connections go of which Tor tells the circuit, by the PROXY protocol.

    Attributes:
        folder: For Tor alone while the service is published; made and removed by us.
        port: On 127.0.0.1, for all virtual ports: the line names the one asked for.
    """

    folder: Path
    port: int


class ServiceFolder:
    """The folder of one service, and the lines of Tor's configuration about it.

    Tor ends on the spot if it is told to use a folder that it cannot read, and makes
    a key of its own where there is none. So it is told only if it looks at the very
    file that we see.

    Args:
        place: The folder, and where connections go.
        secret: The expanded secret key, 64 bytes.
        address: The name that belongs to it.
        virtual_ports: Of the service.

    Attributes:
        is_published: Whether Tor has the service from here.
    """

    def __init__(
        self,
        place: CircuitPort,
        secret: bytes,
        address: OnionAddress,
        virtual_ports: Iterable[int],
    ) -> None:
        self._place = place
        self._secret = secret
        self._address = address
        self._virtual_ports = tuple(virtual_ports)
        self._is_usable = True
        self.is_published = False

    async def publish(self, control: Control, guard: Guard) -> bool:
        """Let Tor publish the folder, and return whether it could.

        Args:
            control: Of the Tor.
            guard: What is asked of those who come.

        Raises:
            TorNotRunningError: Tor has ended.
        """
        if not self._is_usable:
            return False
        try:
            self._write(guard)
            if not await self._is_seen(control):
                self._give_up("it runs as another user, or elsewhere")
                return False
            await self._configure(control, self._lines(guard))
        except (ControlPortError, StoreError, OSError) as error:
            self._give_up(getattr(error, "why", "") or type(error).__name__)
            return False
        except TorNotRunningError:
            self._give_up("it ended")
            raise
        self.is_published = True
        return True

    async def withdraw(self, control: Control) -> None:
        """Take the service down, and the folder away."""
        self.is_published = False
        try:
            await self._configure(control, ())
        finally:
            shutil.rmtree(self._place.folder, ignore_errors=True)

    def _give_up(self, why: str) -> None:
        self._is_usable = False
        shutil.rmtree(self._place.folder, ignore_errors=True)
        log.warning(
            "Tor does not tell the circuits of %s apart: %s", self._address.short, why
        )

    def _write(self, guard: Guard) -> None:
        folder = self._place.folder
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier life
        private.make_folder(folder)
        clients = folder / "authorized_clients"
        private.make_folder(clients)
        # Tor makes the public key's file by itself.
        private.write_new(folder / "hs_ed25519_secret_key", _HEAD + self._secret)
        for number, key in enumerate(sorted(guard.clients or ())):
            line = f"descriptor:x25519:{key}\n".encode()
            private.write_new(clients / f"{number}.auth", line)

    async def _is_seen(self, control: Control) -> bool:
        """Return whether Tor reads the files that we write."""
        uid = await control.get_info("process/uid")
        pid = await control.get_info("process/pid")
        if "Sandbox=0" not in await control.ask("GETCONF Sandbox"):
            return False  # it opens nothing that it did not know at its start
        key = self._place.folder / "hs_ed25519_secret_key"
        return uid == str(os.geteuid()) and key.samefile(Path(f"/proc/{pid}/root{key}"))

    async def _configure(
        self, control: Control, lines: Sequence[tuple[str, str]]
    ) -> None:
        """Replace our lines in Tor's configuration, and leave those of others."""
        async with control.configuring:  # another service of ours may be at it
            others = await self._read_others(control)
            wanted = [f"{name}={_quoted(value)}" for name, value in (*others, *lines)]
            # Without any, the name alone empties the list.
            await control.ask(" ".join(("SETCONF", *(wanted or ["HiddenServiceDir"]))))

    async def _read_others(self, control: Control) -> Sequence[tuple[str, str]]:
        others: list[tuple[str, str]] = []
        is_ours = False
        for line in await control.ask("GETCONF HiddenServiceOptions"):
            name, is_set, value = line.partition("=")
            if name == "HiddenServiceDir":
                is_ours = value == str(self._place.folder)
            if is_set and name.startswith("HiddenService") and not is_ours:
                others.append((name, value))
        return others

    def _lines(self, guard: Guard) -> Sequence[tuple[str, str]]:
        target = f"127.0.0.1:{self._place.port}"
        return (
            ("HiddenServiceDir", str(self._place.folder)),
            *(("HiddenServicePort", f"{v} {target}") for v in self._virtual_ports),
            ("HiddenServiceExportCircuitID", "haproxy"),
            *guard.torrc,
        )


async def read_options(control: Control, folder: Path) -> dict[str, str]:
    """Return what a Tor was told about the service of a folder; empty without one.

    Raises:
        TorNotRunningError: Tor has ended.
    """
    options: dict[str, str] = {}
    is_ours = False
    for line in await control.ask("GETCONF HiddenServiceOptions"):
        name, is_set, value = line.partition("=")
        if name == "HiddenServiceDir":
            is_ours = value == str(folder)
        if is_ours and is_set:
            options[name] = value
    return options


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
