"""An account of ours: one folder holds all of it, so that a copy is a copy.

``<data>/<profile>/account.toml`` (who we are, mode 0600), ``store.sqlite3`` (keys,
messages on their way), ``tor/`` (a Tor of our own, if none runs).

Outside of it is only what tells an old copy of it from the newest:
``<state>/<profile>/``.

Of an account that is encrypted at rest, ``account.toml`` says how the key is derived
from the passphrase or key file; all the rest of it is encrypted, the JID too.
"""

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Self

from xmpp_onion import locks, private
from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.e2ee.trust import Trust, parse_fingerprint
from xmpp_onion.errors import (
    AccountNotFoundError,
    AddressError,
    InvalidMoveError,
    StoreCorruptError,
    StoreKeyError,
)
from xmpp_onion.moves import Move
from xmpp_onion.places import account_folder, data_folder, state_folder
from xmpp_onion.seal import Kind, Seal, Secret
from xmpp_onion.transport import Admission

__all__ = ["Account", "Receipts", "data_folder", "state_folder"]


class Receipts(StrEnum):
    """Who is told that a message of theirs arrived (XEP-0184)."""

    NEVER = "never"
    CONTACTS = "contacts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who we are on which server, and whom we believe.

    Attributes:
        profile: Its name on this machine.
        folder: Where everything of it lies.
        jid: Its bare JID.
        password: A credential.
        trust: What to do about devices that nobody decided about.
        certificate: SHA-256 of the server's certificate, 64 hex digits; empty
            until the first connection pins it.
        tls: Whether TLS is spoken inside the onion circuit also where the server lets
            people in without. The circuit ends at the onion's key either way; TLS asks
            for another one on top, and costs two round trips with each login.
        port: The virtual port of the onion service.
        pins: For ``Trust.PINNED``: the fingerprints that are believed, by JID.
        automatic_trust: Whether verified devices, ours and others', tell each other
            which keys to believe (XEP-0450).
        receipts: Who is told that a message arrived: ``never`` anybody, or
            ``contacts`` who may see us. Never strangers.
        admission: How the server is reached, if it is behind a private door.
        offered: How the server let people in when the account was made, for the first
            login; what it says later is in the store.
        device: The fingerprint of this device, once it was made: from then on a
            store that is missing is an error, not a reason to make new keys.
        former: The names that our server had, where we followed it.
        moved_at: When the last move that we followed was signed, in UTC.
        seal: What it is encrypted with at rest, opened; None if it is not.
    """

    profile: str
    folder: Path
    jid: JID
    password: str = field(repr=False)
    trust: Trust = Trust.BTBV
    certificate: str = ""
    tls: bool = False
    port: int = 5222
    pins: Mapping[JID, frozenset[str]] = field(default_factory=dict)
    automatic_trust: bool = True
    receipts: Receipts = Receipts.NEVER
    admission: Admission | None = None
    offered: str = field(default="", repr=False)
    device: str = ""
    former: tuple[OnionAddress, ...] = ()
    moved_at: datetime | None = None
    seal: Seal | None = field(default=None, repr=False)

    @classmethod
    def locate(cls, profile: str, data_dir: Path | None = None) -> Path:
        """Return the folder of a profile, which need not exist.

        Raises:
            StoreError: The name is not fit for a folder.
        """
        return account_folder(profile, data_dir)

    @classmethod
    def load(
        cls,
        profile: str = "default",
        data_dir: Path | None = None,
        *,
        secret: Secret | None = None,
    ) -> Self:
        """Read the account of a profile.

        Args:
            profile: Its name.
            data_dir: Where profiles live.
            secret: What opens it, if it is encrypted; else it does not count. A
                passphrase takes a fraction of a second and 64 MiB.

        Raises:
            AccountNotFoundError: There is none. Make one with ``account add``.
            StoreKeyError: It is encrypted, and ``secret`` does not open it.
            StorePermissionError: Others can read it. Mend it with ``chmod``.
            StoreCorruptError: It is not what ``save`` wrote.
        """
        folder = cls.locate(profile, data_dir)
        with _reading(folder):
            text, seal = _read(profile, folder), None
            values = tomllib.loads(text)
            if "sealed" in values:
                if secret is None:
                    raise _closed(profile, Kind(values["seal"]["kind"]))
                seal = Seal.open(values["seal"], secret)
                text = seal.decrypt(values["sealed"])
            return replace(cls._parse(text, profile, folder), seal=seal)

    @classmethod
    def kind(
        cls, profile: str = "default", data_dir: Path | None = None
    ) -> Kind | None:
        """Return what opens the account of a profile; None if it is not encrypted.

        Raises:
            StoreError: As ``load``, except for ``StoreKeyError``.
        """
        folder = cls.locate(profile, data_dir)
        with _reading(folder):
            values = tomllib.loads(_read(profile, folder))
            return Kind(values["seal"]["kind"]) if "sealed" in values else None

    @classmethod
    def parse(cls, text: str, profile: str, folder: Path) -> Self:
        """Read what :meth:`text` wrote, as the account of a profile.

        Raises:
            StoreCorruptError: It is no account.
        """
        with _reading(folder):
            return cls._parse(text, profile, folder)

    @classmethod
    def _parse(cls, text: str, profile: str, folder: Path) -> Self:
        values = tomllib.loads(text)
        return cls(
            profile=profile,
            folder=folder,
            jid=JID(values["jid"]).bare,
            password=str(values["password"]),
            trust=Trust.parse(values["trust"]),
            certificate=str(values["certificate"]),
            tls=bool(values["tls"]),
            port=int(values["port"]),
            pins={
                JID(jid): frozenset(parse_fingerprint(text) for text in fingerprints)
                for jid, fingerprints in values.get("pins", {}).items()
            },
            automatic_trust=bool(values.get("automatic_trust", True)),
            receipts=Receipts(values.get("receipts", Receipts.NEVER)),
            admission=_read_admission(values),
            offered=str(values.get("offered", "")),
            device=str(values["device"]),
            former=tuple(OnionAddress(name) for name in values.get("former", [])),
            moved_at=_read_time(values.get("moved_at")),
        )

    def save(self) -> None:
        """Write it, replacing what was there in one step."""
        private.make_folder(self.folder)
        text = self.text()
        if self.seal is not None:
            text = _sealed_text(self.seal, text)
        private.replace(self.folder / "account.toml", text.encode())

    def update(self, change: Callable[[Self], Self]) -> Self:
        """Change what is on the disk now, which may be newer, and return that.

        Two processes may do so at once: a pin and a first login both stay.

        Args:
            change: Returns the account as it shall be.

        Raises:
            StoreLockedError: Another process is at it and does not end.
            StoreError: It cannot be read or written; the old content is still there.
        """
        private.make_folder(self.folder)
        with locks.hold(self.folder / "account.toml.lock"):
            try:
                newest = self.reload()
            except AccountNotFoundError:
                newest = self
            changed = change(newest)
            changed.save()
        return changed

    def reload(self) -> Self:
        """Return the account as it is on the disk now, opened as it was.

        Raises:
            AccountNotFoundError: It is there no more.
            StoreKeyError: It is encrypted, and was not, or otherwise.
            StoreCorruptError: It is not what ``save`` wrote.
        """
        with _reading(self.folder):
            text = _read(self.profile, self.folder)
            values = tomllib.loads(text)
            if "sealed" in values:
                if self.seal is None:
                    raise _closed(self.profile, Kind(values["seal"]["kind"]))
                text = self.seal.decrypt(values["sealed"])
            return replace(self._parse(text, self.profile, self.folder), seal=self.seal)

    def text(self) -> str:
        """Return all of it, the password too, as it is written where it is no secret.

        For :meth:`parse`, in a file that is encrypted.
        """
        values: dict[str, object] = {
            "jid": self.jid,
            "password": self.password,
            "trust": str(self.trust),
            "certificate": self.certificate,
            "tls": self.tls,
            "port": self.port,
            "automatic_trust": self.automatic_trust,
            "receipts": str(self.receipts),
            "device": self.device,
        }
        if self.offered:
            values["offered"] = self.offered
        if self.admission is not None:
            values["door"] = self.admission.address
            values["door_key"] = self.admission.key
        if self.moved_at is not None:
            values["former"] = list(self.former)
            values["moved_at"] = self.moved_at.isoformat()
        lines = [*_assignments(values), "", "[pins]"]
        lines += [
            f"{json.dumps(jid)} = {json.dumps(sorted(fingerprints))}"
            for jid, fingerprints in sorted(self.pins.items())
        ]
        return "\n".join(lines) + "\n"

    def pin(self, jid: JID, fingerprint: str) -> Self:
        """Return the account with one more fingerprint that it believes."""
        known = self.pins.get(jid.bare, frozenset())
        added = {jid.bare: known | {parse_fingerprint(fingerprint)}}
        return replace(self, pins={**self.pins, **added})

    def follow(self, move: Move) -> Self:
        """Return the account as it is after its server's move; the store is not part.

        Raises:
            InvalidMoveError: It is another server's, we followed a later one, or came
                from there.
        """
        if move.old != self.jid.domain:
            raise _stale("it is about another server")
        if self.moved_at is not None and move.at <= self.moved_at:
            raise _stale("a later one was followed already")
        if move.new in {self.jid.domain, *self.former}:
            raise _stale("it leads back to where the server was before")
        pins = {move.rename(jid): prints for jid, prints in self.pins.items()}
        door = self.admission
        if door is not None and door.address == move.old:
            door = replace(door, address=move.new)
        return replace(
            self,
            jid=move.rename(self.jid),
            certificate=move.certificate if self.certificate else "",
            pins=pins,
            admission=door,
            former=(*self.former, move.old),
            moved_at=move.at,
        )

    def introduce_to(self, tor: object) -> None:
        """Let a Tor find our server, if it is behind a private door.

        Args:
            tor: What dials. In tests it may be something that needs no keys.
        """
        if self.admission is None:
            return
        from xmpp_onion.transport import Tor  # noqa: PLC0415 - it loads stem

        if isinstance(tor, Tor):
            tor.admit(self.jid.domain, self.admission)

    def encrypted(self, secret: Secret) -> Self:
        """Return the account as ``secret`` opens it, encrypted from now on.

        For a new one, before its first ``save``; ``agent.profile.encrypt_account``
        takes along the store of one that is in use. An account that is encrypted
        already keeps its key: ``secret`` takes the place of the one before.
        """
        seal = self.seal.change(secret) if self.seal else Seal.make(secret)
        return replace(self, seal=seal)

    @property
    def store_path(self) -> Path:
        """The one SQLite file."""
        return self.folder / "store.sqlite3"

    @property
    def state_folder(self) -> Path:
        """Where it is noted how far the store has come; see ``state_folder()``."""
        return state_folder(self.folder)

    @property
    def store_key(self) -> bytes | None:
        """What the SQLite file is encrypted with; None if it is not."""
        return None if self.seal is None else self.seal.store_key


def _read(profile: str, folder: Path) -> str:
    path = folder / "account.toml"
    try:
        return private.read(path)
    except FileNotFoundError:
        raise AccountNotFoundError(
            f"the profile {profile!r} has no account",
            why=f"there is no {path}",
            fix=f"Make one: xmpp-onion --profile {profile} account add --invite …",
        ) from None


def _read_time(value: object) -> datetime | None:
    return None if value is None else datetime.fromisoformat(str(value)).astimezone(UTC)


def _read_admission(values: Mapping[str, object]) -> Admission | None:
    if "door" not in values:
        return None
    return Admission.read(OnionAddress(str(values["door"])), str(values["door_key"]))


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _corrupt(folder / "account.toml", error) from error


def _closed(profile: str, kind: Kind) -> StoreKeyError:
    return StoreKeyError(
        f"the account of the profile {profile!r} is encrypted",
        why=f"its {kind} is needed, and there is none",
        fix=kind.how_to_give,
    )


def _sealed_text(seal: Seal, text: str) -> str:
    lines = _assignments({"sealed": seal.encrypt(text)})
    return "\n".join([*lines, "", "[seal]", *_assignments(seal.values())]) + "\n"


def _assignments(values: Mapping[str, object]) -> list[str]:
    # A JSON string, number or boolean is one of TOML as well.
    return [f"{name} = {json.dumps(value)}" for name, value in values.items()]


def _stale(why: str) -> InvalidMoveError:
    return InvalidMoveError(
        "the server's move is not followed",
        why=why,
        fix="Nothing was changed. Ask the operator over another channel.",
    )


def _corrupt(path: Path, error: Exception) -> StoreCorruptError:
    # Its kind alone: what it says may quote the password.
    return StoreCorruptError(
        f"{path} cannot be read as an account",
        why=type(error).__name__,
        fix="Restore it from a backup; it was left as it is.",
    )


def parse_addressee(text: str) -> JID:
    """Return the bare JID of somebody to send to, refusing a single device.

    Raises:
        AddressError: It is not one, it names a server, or it has a resource.
    """
    jid = JID(text)
    if jid.resource:
        raise AddressError(
            f"{text!a} names one connection of a person",
            why="a message is encrypted for all devices that are accepted",
            fix="Write it as name@….onion, without the slash and what follows.",
        )
    return parse_recipient(text)


def parse_recipient(text: str) -> JID:
    """Return the bare JID of somebody to write to.

    Raises:
        AddressError: It is not one, or it names a server instead of a person.
    """
    jid = JID(text).bare
    if not jid.local:
        raise AddressError(
            f"{text!a} names a server, not a person",
            fix="Write it as name@….onion.",
        )
    return jid
