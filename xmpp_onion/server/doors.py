"""The onion services of one server: by which doors it is reached.

The name of a server, which its accounts end in, is one onion service. With a public
door everybody may come to it; with a private one, only who has a key. With both, the
name is public, and a second service of its own, that nobody can guess, leads to the
same Prosody for those who have a key: what floods the public one passes them by.
"""

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from xmpp_onion import private
from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import OnionServiceError, ServerError, XmppOnionError
from xmpp_onion.server.clients import ClientKeys, Guest
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.options import Door, Options
from xmpp_onion.transport import (
    Admission,
    CircuitPort,
    Guard,
    OnionService,
    Tor,
    create_key,
    read_address,
)

__all__ = [
    "Doors",
    "find_former_keys",
    "find_private_door",
    "give_key",
    "list_keys",
    "name_service",
    "revoke_key",
]

log = logging.getLogger(__name__)

# Seconds between two looks at the file of keys, which another process changes: one
# call of stat(2). A revocation takes some seconds anyway, until it is published.
_LOOK_PAUSE: Final = 1.0


def find_private_door(folder: Folder, options: Options) -> OnionAddress | None:
    """Return where the private door is, making its key if it is new; None without.

    Raises:
        StoreError: The key cannot be read or written.
        ServerError: It was there, and is lost.
    """
    if options.door is Door.PUBLIC:
        return None
    return read_address(_private_key_file(folder.path, options))


def _private_key_file(folder: Path, options: Options) -> Path:
    if options.door is Door.PRIVATE:
        return folder / "onion.key"
    path, note = folder / "private-door.key", folder / "private-door.address"
    if not path.exists():
        if note.exists():
            raise ServerError(
                f"the private door of the server in {folder} has lost its address",
                why=f"{path} is missing, and guests have keys for that address alone",
                fix="Put the key back from a copy of the folder. Or remove "
                f"{note}: then there is a new door, for which all need new keys.",
            )
        try:
            create_key(path)
        except OnionServiceError:
            if not path.exists():
                raise
    if not note.exists():
        private.replace(note, f"{read_address(path)}\n".encode())
    return path


def give_key(folder: Path, name: str = "") -> tuple[Guest, Admission]:
    """Give somebody a key for the private door of the server in ``folder``.

    A server that runs lets them in at once, as a rule.

    Args:
        folder: The server's folder.
        name: By which the key is revoked; numbered if somebody has it already.

    Raises:
        ServerError: There is no private door, or no room for one more.
        StoreError: A key cannot be read or written.
    """
    address, keys = _private_door(folder)
    guest, key = keys.give(name)
    return guest, Admission(address, key)


def list_keys(folder: Path) -> tuple[Guest, ...]:
    """Return who was given a key for the private door, in that order.

    Raises:
        ServerError: There is no private door.
    """
    return _private_door(folder)[1].guests()


def revoke_key(folder: Path, name: str) -> Guest:
    """Let somebody in no more by the private door; see `OnionService.change_guard`.

    Raises:
        ServerError: There is no private door, or nobody has a key of that name.
    """
    return _private_door(folder)[1].revoke(name)


def _private_door(folder: Path) -> tuple[OnionAddress, ClientKeys]:
    place = Folder(folder, find_unprivileged_user())
    place.read_onion()  # or say that there is no server
    address = find_private_door(place, place.read_options())
    if address is None:
        raise ServerError(
            f"the server in {folder} has no private door",
            why="everybody may come to it, so nobody needs a key",
            fix=f"Make one: xmpp-onion server init {folder} --door both",
        )
    return address, ClientKeys(folder)


def find_former_keys(folder: Path, options: Options) -> list[Path]:
    """Return the keys of the names that a server had and answers to."""
    now = datetime.now(UTC)
    found = (each for each in options.former if each.until > now)
    return [folder / each.key_name for each in found]


def name_service(folder: Path, key_file: Path) -> Path:
    """Return where Tor has a service of a server.

    Args:
        folder: The one of the service that has the server's name.
        key_file: The service's key.
    """
    match key_file.stem:
        case "onion":
            return folder
        case "private-door":
            return folder.with_name(f"{folder.name}-private")
        case name:  # short: Tor's files have names in it, too
            return folder.with_name(f"{folder.name}-{name[:15]}")


class Doors:
    """The onion services of a server, published while the ``async with`` block runs.

    Who was given a key meanwhile gets in, and who lost it does not, whichever process
    changed that.

    Args:
        folder: The server's folder.
        options: What the server is to be.
        tor: What publishes them.
        circuit_port: Where connections go whose circuit this Tor can tell.
    """

    def __init__(
        self,
        folder: Folder,
        options: Options,
        *,
        tor: Tor,
        circuit_port: CircuitPort | None = None,
    ) -> None:
        self._folder = folder
        self._circuit_port = circuit_port
        self._options = options
        self._tor = tor
        self._keys = ClientKeys(folder.path)
        self._stack = AsyncExitStack()
        self._services: list[OnionService] = []

    async def __aenter__(self) -> Self:
        """Publish, and wait until each can be found.

        Raises:
            OnionServiceError: One could not be published.
            ControlPortError: This Tor cannot be told to.
        """
        async with AsyncExitStack() as stack:
            if self._options.door is not Door.PRIVATE:
                await self._open(stack, self._folder.key_file, Guard.public())
            if self._options.door is not Door.PUBLIC:
                key_file = _private_key_file(self._folder.path, self._options)
                await self._open_private(stack, key_file)
            for key_file in self._former_keys():
                if self._options.door is Door.PRIVATE:
                    await self._open_private(stack, key_file)
                else:
                    await self._open(stack, key_file, Guard.public())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Without what went wrong outside: the watcher is just told to end.
        await self._stack.aclose()

    @property
    def services(self) -> tuple[OnionService, ...]:
        """Those that are published, that of the server's name first."""
        return tuple(self._services)

    @property
    def are_published(self) -> bool:
        """Whether each of them can be found at this moment."""
        return all(service.is_published for service in self._services)

    @property
    def tell_circuits(self) -> bool:
        """Whether each of them tells by which circuit somebody comes."""
        return all(service.tells_circuits for service in self._services)

    async def close_circuit(self, circuit: int) -> None:
        """Close a circuit, with all that came through it; one that is gone is fine.

        Args:
            circuit: Its number, as Tor told it before a connection.
        """
        if self._services:  # one Tor has them all, and its circuits
            await self._services[0].close_circuit(circuit)

    async def _open(
        self, stack: AsyncExitStack, key_file: Path, guard: Guard
    ) -> OnionService:
        ports = self._options.onion_ports
        place = self._circuit_port
        if place is not None:
            place = replace(place, folder=name_service(place.folder, key_file))
        service = self._tor.onion_service(
            key_file, ports, guard=guard, circuit_port=place
        )
        await stack.enter_async_context(service)
        self._services.append(service)
        stack.callback(self._services.remove, service)
        return service

    async def _open_private(self, stack: AsyncExitStack, key_file: Path) -> None:
        stamp = self._keys.stamp
        guard = Guard.private(self._keys.admitted())
        service = await self._open(stack, key_file, guard)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        watcher = tasks.create_task(self._watch(service, stamp))
        stack.callback(watcher.cancel)

    def _former_keys(self) -> list[Path]:
        return find_former_keys(self._folder.path, self._options)

    async def _watch(self, service: OnionService, stamp: tuple[int, int]) -> None:
        while True:
            await asyncio.sleep(_LOOK_PAUSE)
            if (found := self._keys.stamp) == stamp:
                continue
            stamp = found
            try:
                guard = Guard.private(self._keys.admitted())
            except XmppOnionError as error:
                log.warning("the private door stays as it was: %s", error.why)
                continue
            if guard != service.guard:
                await service.change_guard(guard)
                log.info("the private door is open for other keys now")
