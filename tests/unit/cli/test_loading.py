"""What commands load before they have to: libraries, not time, which is a machine's."""

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from xmpp_onion import JID, Account
from xmpp_onion.cli import main as cli
from xmpp_onion.e2ee import Trust

ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"

# What speaks to servers and to Tor, what encrypts, and what paints: each takes a
# twentieth of a second or more.
NETWORK = {"aiodns", "aiohttp", "h11", "slixmpp", "socks", "stem"}
ENCRYPTION = {"doubleratchet", "omemo", "oldmemo", "pydantic", "slixmpp_omemo",
              "twomemo", "x3dh", "xmlschema"}  # fmt: skip
PAINT = {"prompt_toolkit", "rich", "segno"}
STORE = {"aiosqlite", "sqlcipher3", "sqlite3"}
EVERYTHING = NETWORK | ENCRYPTION | PAINT | STORE | {"asyncio", "cryptography"}

# At the end of the process, so that what is loaded late is seen, too.
TELL = "import atexit, sys; atexit.register(lambda: print('\\nLOADED', *sys.modules))\n"


def loaded_by(code: str, home: Path) -> set[str]:
    """Return the libraries that are loaded when some Python has run."""
    done = subprocess.run(
        [sys.executable, "-c", TELL + code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home)},
        timeout=300,
    )
    return libraries(done.stdout.rpartition("\nLOADED ")[2].split())


def libraries(names: Sequence[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_the_help_of_no_command_loads_what_it_needs_to_run(tmp_path: Path) -> None:
    code = (
        "from xmpp_onion.cli.main import main\n"
        f"for name in {list(cli._COMMANDS)!r}:\n"
        "    sys.argv = ['xmpp-onion', name, '--help']; main()\n"
    )

    loaded = loaded_by(code, tmp_path)

    assert "click" in loaded
    assert loaded & EVERYTHING == set()


@pytest.mark.parametrize(
    "arguments",
    [["completion", "bash"], ["completion", "zsh"], ["completion", "fish"]],
    ids=" ".join,
)
def test_a_script_for_a_shell_loads_nothing_heavy(
    arguments: list[str], tmp_path: Path
) -> None:
    code = (
        "from xmpp_onion.cli.main import main\n"
        f"sys.argv = ['xmpp-onion', *{arguments!r}]; main()"
    )

    assert loaded_by(code, tmp_path) & EVERYTHING == set()


@pytest.mark.parametrize(
    "name", ["Account", "JID", "Invite", "OnionAddress", "Message", "Secret", "Trust"]
)
def test_a_name_of_the_package_loads_no_network_and_no_encryption(
    name: str, tmp_path: Path
) -> None:
    loaded = loaded_by(f"from xmpp_onion import {name}", tmp_path)

    assert loaded & (NETWORK | ENCRYPTION | PAINT | STORE) == set()


def test_only_a_jid_of_more_than_ascii_waits_for_the_xmpp_library(
    tmp_path: Path,
) -> None:
    make = "from xmpp_onion import JID; JID({!r})"

    assert "slixmpp" not in loaded_by(make.format(f"Bob@muc.{ONION}/ A nick"), tmp_path)
    assert "slixmpp" in loaded_by(make.format(f"bób@{ONION}"), tmp_path)


# Ends the process where it begins to load what connects, and says what is there.
STOP = """
import importlib.abc, os, sys
class Stop(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "xmpp_onion.agent.desk":
            open({told!r}, "w").write(" ".join(sys.modules))
            os._exit(0)
sys.meta_path.insert(0, Stop())
from xmpp_onion.cli.main import main
sys.argv = ["xmpp-onion", "--data-dir", {folder!r}, "chat", {jid!r}]
main()
"""


def test_chat_shows_a_line_to_type_on_before_it_loads_what_connects(
    tmp_path: Path,
) -> None:
    told, data = tmp_path / "told", tmp_path / "data"
    Account(
        profile="default",
        folder=Account.locate("default", data),
        jid=JID(f"alice@{ONION}"),
        password="x",
        trust=Trust.BTBV,
    ).save()
    code = STOP.format(told=str(told), folder=str(data), jid=f"bob@{ONION}")

    shown = in_terminal([sys.executable, "-c", code], tmp_path)

    loaded = libraries(told.read_text().split())
    assert "bob@" in shown
    assert "prompt_toolkit" in loaded
    assert loaded & (NETWORK | ENCRYPTION | STORE | {"rich", "segno"}) == set()


def in_terminal(program: list[str], home: Path) -> str:
    """Run a program to its end in a terminal, and return what it shows."""
    ours, its = pty.openpty()
    shown = b""
    with subprocess.Popen(
        program,
        stdin=its,
        stdout=its,
        stderr=its,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "TERM": "xterm"},
        start_new_session=True,
    ) as process:
        os.close(its)
        try:
            while some := os.read(ours, 65536):
                shown += some
        except OSError:
            pass  # the other end is closed: Linux's way to say so
        finally:
            os.close(ours)
        assert process.wait(300) == 0, shown
    return shown.decode()
