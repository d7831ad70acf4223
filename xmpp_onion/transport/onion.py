"""Our own onion services: a key that lasts, and publishing it through Tor.

The key is an ordinary Ed25519 private key in PEM, readable by us alone. Whoever
has it *is* the service, so a file that others can read is refused.
"""

import asyncio
import base64
import contextlib
import hashlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from xmpp_onion import private
from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import (
    ControlPortError,
    OnionServiceError,
    StorePermissionError,
    TorError,
    XmppOnionError,
)
from xmpp_onion.transport.control import Control
from xmpp_onion.transport.guard import Guard
from xmpp_onion.transport.service_folder import CircuitPort, ServiceFolder

__all__ = ["OnionService", "create_key", "read_address", "sign"]

log = logging.getLogger(__name__)

# Seconds from ADD_ONION to the first directory that has the descriptor: 1.5 to 3
# on a quiet machine, half a minute when Tor has to build all circuits anew.
_UPLOAD_TIMEOUT: Final = 60.0
# Seconds after the first upload that the others may take; there are up to 16.
_SETTLE_TIMEOUT: Final = 5.0
# Seconds between two attempts to publish while Tor is away; asking costs nothing.
_REPUBLISH_PAUSE: Final = 1.0
# A PEM file of an Ed25519 key has 119 bytes.
_KEY_FILE_LIMIT_BYTES: Final = 4096


def create_key(key_file: Path) -> OnionAddress:
    """Make a key that lasts, and return the address that belongs to it.

    Needs no Tor. The file appears whole or not at all, with mode 0600, and never
    in place of another one.

    Raises:
        OnionServiceError: There is such a file already.
        StorePermissionError: The folder cannot be written to.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        private.write_new(key_file, pem)
    except FileExistsError as error:
        raise OnionServiceError(
            f"there is a key in {key_file} already",
            why="a new one would be a new address, and the old one would be lost",
            fix="Use it, or move it away first.",
        ) from error
    except OSError as error:
        raise StorePermissionError(
            f"the key file {key_file} cannot be written",
            why=error.strerror or "",
            fix="Choose a folder that belongs to you, on a disk that has room.",
        ) from error
    return _address(key)


def read_address(key_file: Path) -> OnionAddress:
    """Return the address that belongs to a key made by ``create_key()``.

    Raises:
        OnionServiceError: There is no key in the file.
        StorePermissionError: Others can read the file or own it.
    """
    return _address(_read_key(key_file))


def sign(key_file: Path, data: bytes) -> bytes:
    """Return the signature of 64 bytes that a key made by ``create_key()`` gives.

    Tor signs with the same key: begin ``data`` with words that nothing of Tor's has.

    Raises:
        OnionServiceError: There is no key in the file.
        StorePermissionError: Others can read the file or own it.
    """
    return _read_key(key_file).sign(data)


class OnionService:
    """An onion service of ours, published while the ``async with`` block runs.

    Entering waits until Tor has the network and a directory has the descriptor;
    clients may still need a second more to find it. The service ends with the
    block or with this process. If Tor ends, it is published again when Tor is back.

    Attributes:
        address: Its name; the same each time for the same key.
    """

    def __init__(
        self,
        key_file: Path,
        ports: Mapping[int, int],
        *,
        ready: Callable[[], Awaitable[Control]],
        guard: Guard = Guard(),  # noqa: B008 - it is frozen
        circuit_port: CircuitPort | None = None,
    ) -> None:
        """Read the key; nothing is published yet.

        Args:
            key_file: Made by ``create_key()``.
            ports: Virtual port to the port on 127.0.0.1 that serves it.
            ready: Returns the control connection of a bootstrapped Tor.
            guard: What is asked of those who come.
            circuit_port: Where connections go instead, if this Tor can tell their
                circuits apart.
        """
        self._key = _read_key(key_file)
        self._ports = dict(ports)
        self._ready = ready
        self._guard = guard
        self._has_work = guard.asks_for_work
        self._turn = asyncio.Lock()  # held while it is published, or with another guard
        self._control: Control | None = None
        self._tasks = asyncio.TaskGroup()
        self._keeper: asyncio.Task[None] | None = None
        self.address = _address(self._key)
        self._folder: ServiceFolder | None = None
        if circuit_port is not None:
            secret = base64.b64decode(_expanded(self._key))
            self._folder = ServiceFolder(circuit_port, secret, self.address, ports)

    def __repr__(self) -> str:
        state = "published" if self._control else "not published"
        return f"<OnionService {self.address.short}, {state}>"

    async def __aenter__(self) -> Self:
        """Publish, and wait for the descriptor to be uploaded.

        Raises:
            OnionServiceError: This Tor publishes the address already, or no
                directory took the descriptor within a minute.
        """
        await self._publish()
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._keeper = self._tasks.create_task(self._keep_published())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        await self._tasks.__aexit__(None, None, None)
        control, self._control = self._control, None
        if control is not None:
            await self._delete(control)

    @property
    def guard(self) -> Guard:
        """What is asked of those who come, as far as this Tor can ask for it."""
        return replace(self._guard, asks_for_work=self._has_work)

    async def change_guard(self, guard: Guard) -> None:
        """Ask something else of those who come from now on.

        The service is taken down and published again, in some seconds, with other
        introduction points: who read what was published before comes to nothing. It is
        tried until it works.

        Who is connected stays so, unless the service tells circuits: then Tor ends
        what is open, and they have to come back.
        """
        async with self._turn:
            self._guard = guard
            while (control := self._control) is not None and not control.has_ended:
                await self._delete(control)
                try:
                    await self._publish()
                except OnionServiceError as error:
                    log.info("not published: %s", error.why)
                    await asyncio.sleep(_REPUBLISH_PAUSE)
                else:
                    return
            # Tor has ended. Who keeps it published does so with the new guard.

    @property
    def is_published(self) -> bool:
        """Whether a Tor that runs has it; not while that Tor is away."""
        return self._control is not None and not self._control.has_ended

    @property
    def tells_circuits(self) -> bool:
        """Whether connections go to the port for those whose circuit is told."""
        return self._folder is not None and self._folder.is_published

    async def close_circuit(self, circuit: int) -> None:
        """Close a circuit, with all that came through it; one that is gone is fine.

        Args:
            circuit: Its number, as Tor told it before a connection.
        """
        control = self._control
        if control is not None and not control.has_ended:
            with contextlib.suppress(TorError):
                await control.ask(f"CLOSECIRCUIT {circuit}")

    @property
    def _service_id(self) -> str:
        return self.address.removesuffix(".onion")

    async def _publish(self) -> None:
        control = await self._ready()
        async with control.events("HS_DESC") as events:
            await self._add(control)
            try:
                await self._uploaded(events)
            except BaseException:
                await self._delete(control)
                raise
        self._control = control
        log.info("published %s", self.address.short)

    async def _keep_published(self) -> None:
        """Publish again whenever Tor has ended and come back."""
        while True:
            if self._control is not None:
                await self._control.wait_ended()
                self._control = None
                log.warning("Tor has ended, and %s with it", self.address.short)
            try:
                async with self._turn:
                    await self._publish()
            except XmppOnionError as error:
                log.info("not published: %s", error.why or error.what)
                await asyncio.sleep(_REPUBLISH_PAUSE)

    async def _add(self, control: Control) -> None:
        self._has_work = bool(self._guard.work)
        if self._folder and await self._folder.publish(control, self._guard):
            return
        try:
            await control.ask(self._command(self._guard.work))
        except ControlPortError as error:
            # 512 is Tor's word for an argument that it does not know.
            if not self._has_work or "(512)" not in error.why:
                raise self._refused(error) from error
            log.warning(
                "this Tor has no proof of work: %s goes without", self.address.short
            )
            self._has_work = False
            try:
                await control.ask(self._command(()))
            except ControlPortError as second:
                raise self._refused(second) from second

    def _command(self, work: Iterable[str]) -> str:
        flags = ",".join(("DiscardPK", *self._guard.flags))
        ports = (f"Port={v},127.0.0.1:{p}" for v, p in self._ports.items())
        words = ("ADD_ONION", f"ED25519-V3:{_expanded(self._key)}", f"Flags={flags}")
        return " ".join((*words, *self._guard.arguments, *work, *ports))

    def _refused(self, error: ControlPortError) -> OnionServiceError:
        is_taken = "collision" in error.why
        return self._failed(
            "this Tor publishes it already" if is_taken else error.why,
            "Stop the other process that serves it."
            if is_taken
            else "Look into Tor's log.",
        )

    async def _uploaded(self, events: asyncio.Queue[str | None]) -> None:
        """Wait for the first upload, and then a little for those under way.

        A client asks one of several directories, and would be told "no such
        service" by one that does not have the descriptor yet.
        """
        loop = asyncio.get_running_loop()
        uploads = _Uploads(self._service_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_UPLOAD_TIMEOUT) as limit:
                while (event := await events.get()) is not None:
                    is_first = uploads.count(event)
                    if is_first:
                        limit.reschedule(loop.time() + _SETTLE_TIMEOUT)
                    if uploads.has_one and not uploads.under_way.total():
                        return
                raise self._failed("Tor ended meanwhile", "Start Tor again.")
        if not uploads.has_one:
            reasons = ", ".join(sorted(uploads.failures)) or "no reason given"
            raise self._failed(
                f"no directory took its descriptor in {_UPLOAD_TIMEOUT:.0f} s "
                f"({reasons})",
                "Check this machine's clock and connection, then try again.",
            )

    def _failed(self, why: str, fix: str) -> OnionServiceError:
        return OnionServiceError(
            f"could not publish {self.address.short}", why=why, fix=fix
        )

    async def _delete(self, control: Control) -> None:
        if control.has_ended:
            return  # the service ended with its connection
        with contextlib.suppress(TorError):
            if self._folder is not None and self._folder.is_published:
                await self._folder.withdraw(control)
                return
            await control.ask(f"DEL_ONION {self._service_id}")
            log.info("withdrew %s", self.address.short)


class _Uploads:
    """What the ``HS_DESC`` events of one service tell (control-spec, HS_DESC)."""

    def __init__(self, service_id: str) -> None:
        self._service_id = service_id
        self.under_way: Counter[str] = Counter()
        self.failures: set[str] = set()
        self.has_one = False

    def count(self, event: str) -> bool:
        """Take note of one event; True for the first that ended well."""
        # HS_DESC Action HSAddress AuthType HsDir [DescriptorID] [REASON=...]
        _, action, service, _, directory, *details = [*event.split(), *[""] * 5]
        if service != self._service_id:
            return False
        if action == "UPLOAD":
            self.under_way[directory] += 1
        elif action in {"UPLOADED", "FAILED"}:
            self.under_way[directory] -= 1
        if action == "FAILED":
            self.failures.update(d for d in details if d.startswith("REASON="))
        is_first = action == "UPLOADED" and not self.has_one
        self.has_one = self.has_one or is_first
        return is_first


def _read_key(key_file: Path) -> Ed25519PrivateKey:
    try:
        data = private.read_bytes(key_file, _KEY_FILE_LIMIT_BYTES)
    except FileNotFoundError as error:
        raise OnionServiceError(
            f"there is no key in {key_file}",
            fix="Make one: `xmpp-onion server init DIR`.",
        ) from error
    except StorePermissionError as error:
        raise StorePermissionError(
            f"the key file {key_file} is not private",
            why=f"{error.why}; a key that others can read, or that belongs to another "
            "user, lets them pose as this service",
            fix=f"{error.fix}. If others may have read it, make a new one",
        ) from error
    try:
        key = load_pem_private_key(data, password=None)
    except ValueError as error:
        raise _not_a_key(key_file) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _not_a_key(key_file)
    return key


def _not_a_key(key_file: Path) -> OnionServiceError:
    return OnionServiceError(
        f"{key_file} does not hold the key of an onion service",
        why="it is not an Ed25519 private key in PEM",
        fix="Restore it from a backup; a new key means a new address.",
    )


def _address(key: Ed25519PrivateKey) -> OnionAddress:
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return OnionAddress.from_public_key(public)


def _expanded(key: Ed25519PrivateKey) -> str:
    """Return the key as ADD_ONION wants it: seed hashed and clamped, in base64.

    Source: RFC 8032, section 5.1.5; control-spec, ADD_ONION.
    """
    digest = bytearray(hashlib.sha512(key.private_bytes_raw()).digest())
    digest[0] &= 0b1111_1000
    digest[31] &= 0b0111_1111
    digest[31] |= 0b0100_0000
    return base64.b64encode(digest).decode()
