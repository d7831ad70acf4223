"""The dependency rule of docs/explanation/architecture.md, and the one door.

Each contract of import-linter is also shown to notice what it forbids: a copy of
the package gets one import too many, and the check has to fail and name it.
"""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "xmpp_onion"

# What opens a connection, or asks a name server. create_connection(sock=…) takes a
# socket that dial() connected.
OPENS_A_CONNECTION = re.compile(
    r"create_connection\((?![^)]*sock=)|open_connection\(|getaddrinfo"
    r"|ClientSession\(|urlopen\(|(?<![\w.])(requests|httpx)\.\w"
)
DOOR = PACKAGE / "transport" / "dial.py"


class Planted(NamedTuple):
    """An import that a contract forbids, and where to plant it."""

    contract: str
    module: str
    line: str


PLANTED = [
    Planted("layers point downwards", "address.py", "import xmpp_onion.client"),
    Planted("layers point downwards", "utils.py", ""),
    Planted(
        "only session, e2ee and address know the XMPP and OMEMO libraries",
        "chat/message.py",
        "import slixmpp",
    ),
    Planted(
        "only transport opens sockets (the test kit plays the far end)",
        "client.py",
        "import socket",
    ),
    Planted("only store knows SQLite", "client.py", "import sqlite3"),
    Planted("only cli talks to a terminal", "client.py", "import rich"),
    Planted(
        "no cycles inside a package",
        "transport/dial.py",
        "import xmpp_onion.transport.tor",
    ),
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = "from importlinter.cli import lint_imports_command as c; c()"
    return subprocess.run(
        [sys.executable, "-c", command, "--no-cache", "--config", "pyproject.toml"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        text=True,
        capture_output=True,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the package and its settings, to spoil."""
    shutil.copytree(PACKAGE, tmp_path / "xmpp_onion")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def modules() -> list[str]:
    return sorted(
        path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")
    )


def test_imports_point_downwards() -> None:
    result = lint_imports(ROOT)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.contract)
def test_a_contract_notices_what_it_forbids(checkout: Path, planted: Planted) -> None:
    module = checkout / "xmpp_onion" / planted.module
    with module.open("a") as file:
        file.write(f"\n{planted.line}\n")

    result = lint_imports(checkout)

    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{planted.contract} BROKEN" in result.stdout


def test_every_contract_has_an_import_planted_against_it() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    contracts = re.findall(
        r'^\[\[tool\.importlinter\.contracts\]\]\nname = "(.*)"', text, re.MULTILINE
    )

    assert sorted({planted.contract for planted in PLANTED}) == sorted(contracts)


@pytest.mark.parametrize("module", modules())
def test_only_the_one_door_opens_connections(module: str) -> None:
    path = PACKAGE / module
    if path == DOOR or path.is_relative_to(PACKAGE / "testing"):
        return

    assert not OPENS_A_CONNECTION.findall(path.read_text())


@pytest.mark.parametrize(
    "line",
    [
        "await loop.create_connection(protocol, host, 5222)",
        "await asyncio.open_connection(host, 5222)",
        "socket.getaddrinfo(host, 5222)",
        "aiohttp.ClientSession()",
        "urllib.request.urlopen(url)",
        "requests.get(url)",
        "httpx.AsyncClient()",
    ],
)
def test_the_search_for_doors_finds_one(line: str) -> None:
    assert OPENS_A_CONNECTION.search(line)


def test_a_connection_over_a_dialled_socket_is_no_door() -> None:
    assert not OPENS_A_CONNECTION.search("create_connection(protocol, sock=dialled)")


KINDS = ("unit", "integration", "onion", "hostile")
# Modules without a test file of their own, and the file that tests them through
# what they serve.
TESTED_IN = {
    "__main__.py": "unit/cli/test_main.py",
    "agent/caller.py": "integration/client/test_agent.py",
    "agent/checks.py": "integration/client/test_beside.py",
    "agent/findings.py": "unit/cli/test_doctor.py",
    "e2ee/read_back.py": "integration/client/test_beside.py",
    "files/answers.py": "hostile/files/test_http.py",
    "files/parcel.py": "hostile/files/test_sent_ahead.py",
    "files/way.py": "hostile/files/test_http.py",
    "cli/chat_terminal.py": "onion/cli/test_chat_faults.py",
    "cli/server_check.py": "unit/cli/test_server.py",
    "server/drift.py": "unit/server/test_checkup.py",
    "server/outside.py": "onion/cli/test_own_tor.py",
    "server/restarts.py": "unit/server/test_checkup.py",
    "server/saved.py": "unit/server/test_checkup.py",
    "transport/descriptor.py": "onion/test_transport.py",
    "agent/desk.py": "integration/client/test_agent.py",
    "agent/keeper.py": "integration/client/test_lending.py",
    "agent/loan.py": "integration/client/test_lending.py",
    "agent/requests.py": "integration/client/test_agent.py",
    "agent/keys.py": "integration/client/test_notary.py",
    "agent/rooms.py": "integration/client/test_rooms.py",
    "agent/sending.py": "integration/client/test_agent.py",
    "agent/spooler.py": "integration/client/test_spool.py",
    "agent/rehearsal.py": "integration/client/test_spool.py",
    "agent/standing.py": "integration/client/test_agent.py",
    "agent/outcomes.py": "unit/cli/test_sent.py",
    "agent/timers.py": "unit/cli/test_timer.py",
    "cli/import_.py": "unit/cli/test_export.py",
    "cli/agent_start.py": "unit/cli/test_agent.py",
    "cli/agent_token.py": "unit/cli/test_agent.py",
    "places.py": "unit/test_account.py",
    "one_error.py": "integration/client/test_client.py",
    "absence.py": "integration/client/test_catch_up.py",
    "ahead.py": "integration/client/test_ahead.py",
    "agent/people.py": "integration/client/test_contacts.py",
    "bench/contestants.py": "integration/bench/test_course.py",
    "bench/first_byte.py": "onion/test_tor_network.py",
    "bench/peers.py": "integration/bench/test_course.py",
    "bench/profanity.py": "foreign/test_bench.py",
    "bench/programme.py": "unit/bench/test_report.py",
    "bench/raw.py": "integration/bench/test_course.py",
    "bench/stage.py": "integration/bench/test_course.py",
    "backlog.py": "integration/client/test_catch_up.py",
    "bot/clock.py": "unit/bot/test_jobs.py",
    "bot/context.py": "unit/bot/test_dispatch.py",
    "bot/handlers.py": "unit/bot/test_arguments.py",
    "bot/help.py": "unit/bot/test_dispatch.py",
    "bot/line.py": "integration/client/test_bot.py",
    "bot/program.py": "unit/bot/test_app.py",
    "bot/work.py": "unit/bot/test_app.py",
    "bot/questions.py": "unit/bot/test_conversation.py",
    "bot/router.py": "unit/bot/test_dispatch.py",
    "testing/fake_clock.py": "unit/bot/test_jobs.py",
    "testing/fake_line.py": "unit/bot/test_memory.py",
    "testing/fake_room.py": "integration/client/test_bot_worlds.py",
    "testing/fake_server.py": "unit/bot/test_dispatch.py",
    "testing/fake_user.py": "integration/client/test_bot_worlds.py",
    "testing/fake_world.py": "integration/client/test_bot_worlds.py",
    "testing/observed.py": "integration/client/test_bot_worlds.py",
    "testing/prosody_world.py": "integration/client/test_bot_worlds.py",
    "testing/plugin.py": "unit/bot/test_plugin.py",
    "chat/event.py": "unit/chat/test_message.py",
    "configuration/readers.py": "unit/configuration/test_file.py",
    "configuration/settings.py": "unit/configuration/test_file.py",
    "clerk.py": "integration/client/test_client_hostile.py",
    "cli/chat_commands.py": "integration/client/test_chat.py",
    "cli/chat_courtesy.py": "integration/client/test_chat.py",
    "cli/chat_marks.py": "hostile/terminal/test_chat_terminal.py",
    "cli/chat_numbers.py": "integration/client/test_chat.py",
    "cli/chat_people.py": "integration/client/test_chat.py",
    "cli/chat_rooms.py": "integration/client/test_chat.py",
    "cli/chat_said.py": "integration/client/test_chat.py",
    "cli/chat_states.py": "integration/client/test_chat.py",
    "cli/play.py": "onion/cli/test_demo.py",
    "cli/server_up.py": "onion/cli/test_server.py",
    "client.py": "integration/client/test_client.py",
    "server/open_invites.py": "integration/client/test_server_invites.py",
    "cli/server_invite.py": "unit/cli/test_server.py",
    "e2ee/agreement.py": "unit/e2ee/test_lasting.py",
    "e2ee/answers.py": "unit/e2ee/test_omemo.py",
    "e2ee/backend.py": "unit/e2ee/test_lasting.py",
    "e2ee/decisions.py": "unit/e2ee/test_omemo.py",
    "e2ee/decryption.py": "unit/e2ee/test_omemo.py",
    "e2ee/effect.py": "unit/e2ee/test_omemo.py",
    "e2ee/encryption.py": "unit/e2ee/test_omemo.py",
    "e2ee/known_devices.py": "unit/e2ee/test_omemo.py",
    "e2ee/local.py": "unit/e2ee/test_lasting.py",
    "e2ee/local_oldmemo.py": "unit/e2ee/test_lasting.py",
    "e2ee/local_twomemo.py": "unit/e2ee/test_lasting.py",
    "e2ee/own_device.py": "unit/e2ee/test_omemo.py",
    "e2ee/nodes.py": "integration/e2ee/test_pep.py",
    "e2ee/publisher.py": "unit/e2ee/test_both_versions.py",
    "e2ee/receiver.py": "unit/e2ee/test_omemo.py",
    "e2ee/record.py": "unit/e2ee/test_ratchet.py",
    "e2ee/session_manager.py": "unit/e2ee/test_traps.py",
    "e2ee/storage.py": "unit/e2ee/test_omemo.py",
    "e2ee/writer.py": "unit/e2ee/test_both_versions.py",
    "provision.py": "integration/client/test_offline.py",
    "room_post.py": "integration/client/test_room_messages.py",
    "outgoing.py": "integration/client/test_client.py",
    "rooms/room.py": "integration/client/test_rooms.py",
    "rooms/care.py": "integration/client/test_rooms.py",
    "rooms/joined.py": "integration/client/test_rooms.py",
    "rooms/address.py": "integration/client/test_rooms.py",
    "rooms/marks.py": "integration/client/test_rooms.py",
    "rooms/membership.py": "integration/client/test_rooms.py",
    "session/bookmarks.py": "integration/client/test_rooms.py",
    "session/room_service.py": "integration/client/test_rooms.py",
    "server/child.py": "integration/server/test_prosody_process.py",
    "server/circuits.py": "onion/test_circuits.py",
    "server/ejabberd.py": "foreign/test_ejabberd.py",
    "testing/circuit.py": "integration/server/test_onion_circuits.py",
    "notary.py": "integration/client/test_notary.py",
    "files/download.py": "integration/client/test_files.py",
    "files/lane.py": "hostile/files/test_http.py",
    "sharing.py": "integration/client/test_files.py",
    "agent/files.py": "integration/client/test_files.py",
    "cli/download.py": "integration/client/test_files.py",
    "cli/transfer.py": "integration/client/test_files.py",
    "server/keeping.py": "onion/test_server.py",
    "testing/hostile_http.py": "hostile/files/test_http.py",
    "session/archive.py": "hostile/session/test_hostile_archive.py",
    "session/catch_up.py": "hostile/session/test_hostile_archive.py",
    "session/events.py": "integration/session/test_session_prosody.py",
    "session/liveness.py": "integration/session/test_session_prosody.py",
    "session/tls.py": "hostile/session/test_hostile_login.py",
    "session_memory.py": "integration/bench/test_course.py",
    "session/people.py": "integration/client/test_contacts.py",
    "session/questions.py": "hostile/session/test_hostile_login.py",
    "session/registration.py": "integration/session/test_session_prosody.py",
    "session/wire.py": "hostile/session/test_hostile_stream.py",
    "testing/bare_account.py": "unit/e2ee/test_foreign_omemo_2.py",
    "testing/bare_device.py": "unit/e2ee/test_lasting.py",
    "waiting.py": "integration/client/test_waiting.py",
    "speaker.py": "integration/client/test_contents.py",
    "testing/fake_pep.py": "unit/e2ee/test_devices.py",
    "testing/light_member.py": "integration/server/test_omemo_slim.py",
    "testing/loopback.py": "integration/session/test_session_prosody.py",
    "testing/prosody_modules.py": "integration/server/test_fast_login.py",
    "testing/omemo_peer.py": "unit/e2ee/test_omemo.py",
    "testing/visit.py": "onion/test_tor_network.py",
    "version.py": "test_exports.py",
}


@pytest.mark.parametrize(
    "module", [module for module in modules() if Path(module).name != "__init__.py"]
)
def test_every_module_has_a_test_file_in_the_same_place(module: str) -> None:
    path = Path(module)
    own = [ROOT / "tests" / kind / path.parent / f"test_{path.name}" for kind in KINDS]

    if module in TESTED_IN:
        assert (ROOT / "tests" / TESTED_IN[module]).exists()
        assert not any(file.exists() for file in own), "no exception is needed"
    else:
        assert any(file.exists() for file in own), f"no test_{path.name} anywhere"


def test_no_exception_is_made_for_a_module_that_is_gone() -> None:
    assert set(TESTED_IN) <= set(modules())


def undocumented(source: str) -> list[str]:
    """Return what has no docstring of the public names, of protocols' methods too.

    Ruff asks only for those in ``__all__``.
    """
    found, nodes = [], [(ast.parse(source), "")]
    while nodes:
        node, prefix = nodes.pop()
        for inner in getattr(node, "body", []):
            if not isinstance(
                inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            ):
                continue
            if any(map(_is_overload, inner.decorator_list)):
                continue  # the one that is called says it for all
            if not inner.name.startswith("_") and ast.get_docstring(inner) is None:
                found.append(prefix + inner.name)
            if isinstance(inner, ast.ClassDef) and not inner.name.startswith("_"):
                nodes.append((inner, f"{inner.name}."))
    return found


def _is_overload(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id == "overload"


@pytest.mark.parametrize("module", modules())
def test_what_others_may_use_is_documented(module: str) -> None:
    assert undocumented((PACKAGE / module).read_text(encoding="utf-8")) == []


def test_an_undocumented_name_is_noticed() -> None:
    source = "def f(): ...\nclass C:\n    'x'\n    async def g(self): ...\n"

    assert undocumented(source) == ["f", "C.g"]
