"""The admin console: what goes into a Lua literal, and an absent server."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.errors import ServerError
from xmpp_onion.server.console import ask, lua_string


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("alice 1", '"alice 1"'),
        ('"', r'"\034"'),
        ("\\", r'"\092"'),
        ("]]", r'"\093\093"'),
        ("\n", r'"\010"'),
        ("é", r'"\195\169"'),
        ("", '""'),
    ],
)
def test_a_literal_holds_letters_and_escapes_the_rest(text: str, literal: str) -> None:
    assert lua_string(text) == literal


@given(st.text())
def test_nothing_breaks_out_of_a_literal(text: str) -> None:
    inner = lua_string(text)[1:-1]

    assert inner.isascii()
    assert '"' not in inner
    assert "\n" not in inner


def test_lua_reads_back_what_was_written() -> None:
    text = "".join(map(chr, range(1, 0x250))) + "\U0001f9c5"
    lua = shutil.which("lua5.4")
    assert lua is not None, "lua5.4 comes with Prosody"

    program = f"io.write({lua_string(text)})"
    found = subprocess.run([lua, "-e", program], capture_output=True, check=True)

    assert found.stdout.decode() == text


async def test_a_server_that_does_not_run_is_said_to(tmp_path: Path) -> None:
    with pytest.raises(ServerError) as caught:
        await ask(tmp_path / "my chat" / "prosody" / "data", "return 1")

    assert "does not answer" in caught.value.what
    assert f"server up '{tmp_path / 'my chat'}'" in caught.value.fix
