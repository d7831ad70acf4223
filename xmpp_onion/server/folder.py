"""The folder of a server: what lies in it, and who may read it.

::

    DIR/                 0700  ours
    ├── onion.key        0600  the address itself; Prosody never sees it
    ├── address          0600  which address that is, so that no other takes its place
    ├── former-….key     0600  of a name that it had; see `server rotate`
    ├── rotation/        what is to take its place, for a moment: see `switch`
    ├── server.json      0600  what it is to be, and its loopback ports
    ├── lock             0600  held while a server runs
    ├── keeper           0600  held by what keeps it running: that process's number
    ├── state            0600  how it is, as its keeper saw it last
    ├── restarts         0600  what of it ended by itself, and when
    ├── backed-up        0600  when it was backed up last
    ├── torrc            0600  lines for a Tor of our own, if its owner wrote some
    ├── background       0600  what it printed in the background
    ├── xmpp-onion.service    what systemd needs to run it
    ├── output           0600  what Prosody printed at its last start
    ├── ejabberd/        instead of Prosody, if that was chosen: the same, with
    │                    certs/….onion.pem, inetrc and start
    └── prosody/         ours, readable to Prosody's user
        ├── prosody.cfg.lua
        ├── certs/       ….onion.crt, and ….onion.key of Prosody's user, 0600
        ├── modules/
        └── data/        0700  of Prosody's user; all that it may write

Started by root, Prosody runs as another user; else all of it belongs to one.
"""

import os
import pwd
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from xmpp_onion import private
from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import ServerError
from xmpp_onion.server import switch
from xmpp_onion.server.certificate import make_certificate, read_fingerprint
from xmpp_onion.server.options import Engine, Options
from xmpp_onion.server.prosody import describe, describe_unit, find_templates, render
from xmpp_onion.transport import read_address

__all__ = ["Folder", "RunAs", "find_unprivileged_user"]

# Prosody's user reads them through its group.
_SHARED_FOLDER, _SHARED_FILE = 0o750, 0o640


class RunAs(NamedTuple):
    """The user that Prosody runs as, when root starts it.

    Attributes:
        uid: Of the user.
        gid: Of its primary group.
    """

    uid: int
    gid: int


def find_unprivileged_user() -> RunAs | None:
    """Return who Prosody should run as, or None if we are not root ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("prosody", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return RunAs(entry.pw_uid, entry.pw_gid)
    raise ServerError(
        "Prosody cannot be started",
        why="we are root, and there is no user prosody or nobody to run it as",
        fix="Install Debian's package prosody, or start as an ordinary user.",
    )


@dataclass(frozen=True, slots=True)
class Folder:
    """One server's folder.

    Attributes:
        path: The folder.
        run_as: Who Prosody runs as; None if as ourselves.
    """

    path: Path
    run_as: RunAs | None

    @property
    def key_file(self) -> Path:
        """The secret key of the onion service."""
        return self.path / "onion.key"

    @property
    def address_file(self) -> Path:
        """The address that the key has to stand for."""
        return self.path / "address"

    @property
    def torrc_file(self) -> Path:
        """Lines for a Tor of our own; the server's owner may make it."""
        return self.path / "torrc"

    @property
    def options_file(self) -> Path:
        """What the server is to be, and its ports."""
        return self.path / "server.json"

    @property
    def lock_file(self) -> Path:
        """Locked while a server runs here."""
        return self.path / "lock"

    @property
    def keeper_file(self) -> Path:
        """Locked by the process that keeps it running, with its number in it."""
        return self.path / "keeper"

    @property
    def state_file(self) -> Path:
        """How it is, as its keeper saw it last."""
        return self.path / "state"

    @property
    def restarts_file(self) -> Path:
        """What ended by itself, and when."""
        return self.path / "restarts"

    @property
    def backup_file(self) -> Path:
        """When it was backed up last."""
        return self.path / "backed-up"

    @property
    def unit_file(self) -> Path:
        """What systemd needs to run it."""
        return self.path / "xmpp-onion.service"

    @property
    def background_file(self) -> Path:
        """What it printed in the background, since its start there."""
        return self.path / "background"

    @property
    def output_file(self) -> Path:
        """What Prosody printed when it started."""
        return self.path / "output"

    @property
    def prosody(self) -> Path:
        """Prosody's part."""
        return self.path / "prosody"

    @property
    def ejabberd(self) -> Path:
        """The part of ejabberd, where it runs instead."""
        return self.path / "ejabberd"

    @property
    def data(self) -> Path:
        """What Prosody writes; it is started in here."""
        return self.prosody / "data"

    @property
    def log_file(self) -> Path:
        """Prosody's log: warnings and errors."""
        return self.data / "prosody.log"

    @property
    def config_file(self) -> Path:
        """Prosody's configuration."""
        return self.prosody / "prosody.cfg.lua"

    def read_onion(self) -> OnionAddress:
        """Return the address that the key stands for.

        Raises:
            ServerError: There is no key, or it is just being replaced.
        """
        if switch.is_pending(self.path):
            raise ServerError(
                f"the server in {self.path} is just getting another name",
                why="`server rotate` is at it, or was ended before it was done",
                fix=f"Let it be done: xmpp-onion server init {self.path}",
            )
        if not self.key_file.exists():
            raise ServerError(
                f"there is no server in {self.path}",
                why="it has no onion.key",
                fix=f"Make one: xmpp-onion server init {self.path}",
            )
        return read_address(self.key_file)

    def read_certificate_fingerprint(self, onion: OnionAddress | None = None) -> str:
        """Return the SHA-256 of the certificate, as 64 hex digits.

        Args:
            onion: Of which name; the one that it has by default.
        """
        name = self.read_onion() if onion is None else onion
        return read_fingerprint(self._certificate(name).read_bytes())

    def read_torrc(self) -> tuple[str, ...]:
        """Return the lines that the owner wants in the torrc of our own Tor.

        Raises:
            StorePermissionError: Others can read or write the file.
        """
        try:
            return tuple(private.read(self.torrc_file).splitlines())
        except FileNotFoundError:
            return ()

    def read_options(self) -> Options:
        """Return what the server is to be.

        Raises:
            ServerError: The file is damaged; see `Options.load`.
        """
        return Options.load(self.options_file)

    def write_options(self, options: Options) -> None:
        """Remember options, and write the configuration that belongs to them."""
        options.save(self.options_file)
        self.write_config()

    def write_config(self) -> None:
        """Render the configuration, with the modules beside it."""
        templates = find_templates(Path(__file__).parent)
        template = (templates / "prosody.cfg.lua").read_text("utf-8")
        text = render(template, describe(self.read_onion(), self.read_options()))
        _write(self.config_file, text, mode=_SHARED_FILE)
        self.share(self.config_file)
        for module in sorted((templates / "modules").glob("*.lua")):
            target = self.prosody / "modules" / module.name
            _write(target, module.read_text("utf-8"), mode=_SHARED_FILE)
            self.share(target)
        unit = (templates / "systemd" / self.unit_file.name).read_text("utf-8")
        names = describe_unit(self.path.absolute(), _user_name())
        _write(self.unit_file, render(unit, names))
        if self.read_options().engine is Engine.EJABBERD:
            self._write_ejabberd()

    def _write_ejabberd(self) -> None:
        """Make the part of ejabberd, which reads key and certificate as one file."""
        for name in ("", "certs"):
            place = self.ejabberd / name
            self.make_shared(place)
            place.chmod(_SHARED_FOLDER)
        data = self.ejabberd / "data"
        if not data.exists():
            private.make_folder(data)
        self.give_away(data)
        onion = self.read_onion()
        certificate = self._certificate(onion)
        pem = self.ejabberd / "certs" / f"{onion}.pem"
        key = certificate.with_suffix(".key").read_text("ascii")
        _write(pem, key + certificate.read_text("ascii"))
        self.give_away(pem)
        names = describe(onion, self.read_options())
        templates = find_templates(Path(__file__).parent, "ejabberd-config")
        for name in ("ejabberd.yml", "inetrc", "start"):
            text = render((templates / name).read_text("utf-8"), names)
            _write(self.ejabberd / name, text, mode=_SHARED_FILE)
            self.share(self.ejabberd / name)

    def read_known_addresses(self) -> frozenset[str]:
        """Return the address that was noted here; of an old folder, its certificates'.

        Empty for a new server.
        """
        try:
            return frozenset(private.read(self.address_file).split())
        except FileNotFoundError:
            certificates = (self.prosody / "certs").glob("*.onion.crt")
            return frozenset(path.stem for path in certificates)
        except UnicodeDecodeError:
            return frozenset({"one that cannot be read"})

    def write_address(self, onion: OnionAddress) -> None:
        """Note the address that the key has to stand for from now on."""
        _write(self.address_file, f"{onion}\n")

    def make_certificate(self, onion: OnionAddress) -> str:
        """Make a certificate for a name that has none, and return its SHA-256."""
        certificate = self._certificate(onion)
        key_file = certificate.with_suffix(".key")
        if not (certificate.exists() and key_file.exists()):
            key, chain = make_certificate(onion, now=datetime.now(UTC))
            # It is Prosody's before it has its name: a key of another owner is refused.
            draft = key_file.with_suffix(".new")
            _write(draft, key.decode("ascii"))
            self.give_away(draft)
            private.publish(draft, key_file)
            _write(certificate, chain.decode("ascii"), mode=_SHARED_FILE)
            self.share(certificate)
        return self.read_certificate_fingerprint(onion)

    def check(self) -> None:
        """Refuse to work where others could read a key.

        Raises:
            StorePermissionError: A mode or an owner is wrong.
        """
        private.check_folder(self.path)
        for key in self.path.glob("*.key"):
            private.check_file(key)
        for key in (self.prosody / "certs").glob("*.key"):
            private.check_file(key, owner=self.prosody_uid)

    def open_to_prosody(self) -> None:
        """Give Prosody's user what came from elsewhere: its folders, and its key."""
        certificates = self.prosody / "certs"
        for place in (self.prosody, certificates):
            place.chmod(_SHARED_FOLDER)
        for file in certificates.iterdir():
            if file.suffix == ".key":
                self.give_away(file)
            else:
                file.chmod(_SHARED_FILE)
                self.share(file)

    def make_shared(self, place: Path) -> None:
        """Make a folder that Prosody's user may look into, if it is missing."""
        if not place.exists():
            place.mkdir(mode=_SHARED_FOLDER)
            place.chmod(_SHARED_FOLDER)  # a umask may take away too much
        self.share(place)

    def share(self, path: Path) -> None:
        """Let Prosody's user read something through its group."""
        if self.run_as is not None:
            os.chown(path, -1, self.run_as.gid)

    def give_away(self, path: Path) -> None:
        """Make something, and what is in it, belong to Prosody's user.

        Only where it is somebody else's, as after a move or a restore: inside a
        folder of its own, that user could plant a hard link to what is not his.
        """
        if self.run_as is None or path.stat().st_uid == self.run_as.uid:
            return
        for place, folders, files in os.walk(path):
            for name in (*folders, *files):
                os.chown(Path(place) / name, *self.run_as, follow_symlinks=False)
        os.chown(path, *self.run_as, follow_symlinks=False)

    @property
    def prosody_uid(self) -> int:
        """Whose all that Prosody writes is."""
        return os.geteuid() if self.run_as is None else self.run_as.uid

    def _certificate(self, onion: OnionAddress) -> Path:
        return self.prosody / "certs" / f"{onion}.crt"


def _user_name() -> str:
    """Return who we are, for systemd; a user without a name is a number there."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _write(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a whole file or nothing, and leave it alone if it says so already."""
    data = text.encode()
    if not path.exists() or path.read_bytes() != data:
        private.replace(path, data, mode=mode)
