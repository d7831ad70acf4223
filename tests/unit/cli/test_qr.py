import io
import os
import shutil

import pytest

from xmpp_onion.cli.qr import qr_code, qr_svg, with_code

LINK = "xmpp:bob?omemo-sid-1=" + "a" * 64


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class OldTerminal(Terminal):
    encoding = "ascii"


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    size = os.terminal_size((80, 24))
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: size)


def test_a_code_is_a_square_of_half_blocks_that_depends_on_the_text() -> None:
    one, two = qr_code(LINK), qr_code("xmpp:bob")

    assert one != two
    assert any(block in one for block in "▀▄█")
    assert len(one.splitlines()) > len(two.splitlines()) >= 10


@pytest.mark.usefixtures("columns")
def test_a_link_stands_below_its_code_where_it_is_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdout", Terminal())
    shown = with_code(LINK).splitlines()

    assert shown[-1] == LINK
    assert shown[:-1] == qr_code(LINK).splitlines()


@pytest.mark.usefixtures("columns")
def test_a_code_that_cannot_be_shown_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdout", OldTerminal())
    assert with_code(LINK) == LINK

    monkeypatch.setattr("sys.stdout", Terminal())
    shown = with_code(LINK * 10)
    assert shown.startswith(f"{LINK * 10}\n(")
    assert "█" not in shown

    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert with_code(LINK) == LINK


def test_a_picture_for_a_page_loads_nothing_and_has_no_style() -> None:
    picture = qr_svg("xmpp:alice@example.onion?register;preauth=" + "a" * 200)

    assert picture.startswith("<svg ")
    assert not any(
        word in picture for word in ("href", "style", "url(", "script", "<?")
    )
