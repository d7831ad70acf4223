"""Where scenes are played: a private Tor network, and a server for each."""

import asyncio
import re
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scripts.pictures.scene import Scene, Step
from scripts.pictures.svg import Shown, draw
from scripts.pictures.terminal import Terminal
from xmpp_onion import JID, Account, Tor, Trust
from xmpp_onion.server import Server, initialise
from xmpp_onion.session import register
from xmpp_onion.testing import TorNetwork

ROOT: Final = Path(__file__).resolve().parents[2]
_DATA: Final = Path(".local/share/xmpp-onion")


@dataclass
class Play:
    """A scene that is played.

    Attributes:
        scene: Which.
        folder: All homes are in it.
        network: The Tor network.
        known: What steps can name.
    """

    scene: Scene
    folder: Path
    network: TorNetwork
    known: dict[str, str] = field(default_factory=dict)

    async def run(self) -> str:
        """Play the scene, and return its picture."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._people())
            terminals = {}
            for name in self.scene.screens:
                terminals[name] = await asyncio.to_thread(self._open, name)
                stack.callback(terminals[name].close)
            picture = ""
            for step in self.scene.steps:
                picture += await asyncio.to_thread(self._do, step, terminals)
        return picture

    @asynccontextmanager
    async def _people(self) -> AsyncIterator[None]:
        """Have everybody's account made, on a server that is up."""
        async with AsyncExitStack() as stack:
            enter, net = stack.enter_async_context, self.network
            if self.scene.people:
                at = (net.service_socks, net.service_control)
                publisher = await enter(Tor.attach(*at))
                server = await enter(Server(self.folder / "server", tor=publisher))
                tor = await enter(Tor.attach(net.socks, net.control))
                for person in self.scene.people:
                    await self._enrol(person, server, tor)
            if self.scene.folder:
                self._prepare_server()
            yield

    async def _enrol(self, person: str, server: Server, tor: Tor) -> None:
        name, _, device = person.partition(":")
        if device:
            known = Account.load("default", self.folder / name / _DATA)
            password, certificate = known.password, known.certificate
        else:
            password = secrets.token_urlsafe(24)
            invite = await server.invite(name)
            certificate = await register(invite, name, password, tor=tor, tls=False)
        Account(
            profile="default",
            folder=self.folder / (device or name) / _DATA / "default",
            jid=JID(f"{name}@{server.onion}"),
            password=password,
            trust=Trust.BTBV,
            certificate=certificate,
        ).save()
        self.known |= {name: f"{name}@{server.onion}", "onion": server.onion}

    def _prepare_server(self) -> None:
        """Let the Tor of a server to come join the network: it has no other."""
        home, _, name = self.scene.folder.partition("/")
        folder = self.folder / home / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        initialise(folder)
        lines = "\n".join(self.network.torrc_lines)
        (folder / "torrc").write_text(f"{lines}\n", encoding="utf-8")

    def _open(self, name: str) -> Terminal:
        screen = self.scene.screens[name]
        home = self.folder / screen.home
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "scripts").exists():
            (home / "scripts").symlink_to(self.folder / "bin")
        if [screen.home] == list(self.scene.people[:1]):
            (home / "holiday.jpg").write_bytes(secrets.token_bytes(400_000))
        environment = {
            "HOME": str(home),
            "PATH": f"{self.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin:/usr/sbin",
            "LANG": "C.UTF-8",
            "PS1": "$ ",
            "TZ": "UTC",
        }
        if not self.scene.folder.startswith(f"{screen.home}/"):
            environment["XMPP_ONION_SOCKS"] = self.network.socks
            environment["XMPP_ONION_CONTROL"] = self.network.control
        return Terminal(screen, self.folder / f"{name}.tmux", environment)

    def _do(self, step: Step, terminals: dict[str, Terminal]) -> str:
        """Do a step; return the picture if it draws one."""
        terminal = terminals[step.screen]
        if step.type:
            terminal.type(self._fill(step.type))
        if step.keys:
            terminal.press(*step.keys)
        at = terminals[step.at]
        at.wait_for(self._fill(step.until, for_pattern=True))
        for name, pattern in step.keep.items():
            found = re.findall(pattern, at.text(), re.MULTILINE)
            if not found:
                raise SystemExit(f"{pattern} is nowhere in:\n{at.text()}")
            self.known[name] = found[-1].strip()
        return self._draw(terminals) if step.draws else ""

    def _fill(self, text: str, *, for_pattern: bool = False) -> str:
        for name, value in self.known.items():
            meant = re.escape(value) if for_pattern else value
            text = text.replace(f"{{{name}}}", meant)
        return text

    def _draw(self, terminals: dict[str, Terminal]) -> str:
        shown = []
        for name, screen in self.scene.screens.items():
            if screen.is_drawn:
                text = terminals[name].colours()
                text = text.replace(str(self.folder / screen.home), "~")
                text = re.sub(r"\n\$? *(\n *)*$", "", text)  # a shell that waits
                lines = tuple(text.split("\n"))
                shown.append(Shown(screen.name, screen.columns, lines))
        picture = draw(self.scene.title, shown)
        for secret in (str(self.folder), str(ROOT), str(Path.home()) + "/"):
            if secret in picture:
                raise SystemExit(f"the picture shows {secret}, of this machine")
        if re.search(rf"\b{re.escape(socket.gethostname())}\b", picture):
            raise SystemExit("the picture shows the name of this machine")
        return picture


def build(folder: Path) -> None:
    """Put the program where the shells of scenes find it, and the demo."""
    programs = folder / "bin"
    programs.mkdir()
    python = f"exec env PYTHONPATH={ROOT} {sys.executable} -m xmpp_onion"
    for name, more in (("xmpp-onion", ""), ("demo", " demo")):
        program = programs / name
        program.write_text(f'#!/bin/sh\n{python}{more} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
