"""The manual page: made of the commands, and of nothing that roff would obey."""

from pathlib import Path

from xmpp_onion.cli.catalogue import CommandEntry, ParamEntry, read_catalogue
from xmpp_onion.cli.man import write_page

PAGE = Path(__file__).parents[3] / "docs" / "xmpp-onion.1"
HINT = "write it anew: python -m xmpp_onion.cli.man > docs/xmpp-onion.1"


def entry(help_text: str = "", *params: ParamEntry) -> CommandEntry:
    inner = CommandEntry(help=help_text, params=list(params), commands=None)
    return CommandEntry(help="All.", params=[], commands={"one": inner})


def option(meaning: str) -> ParamEntry:
    return ParamEntry(
        name="x", spellings=["--x"], metavar="N", shown=["--x N", meaning],
        flag=False, multiple=False, nargs=1, choices=[], path=False,
    )  # fmt: skip


def test_the_page_is_that_of_the_commands() -> None:
    assert PAGE.read_text("utf-8") == write_page(read_catalogue()), HINT


def test_every_command_has_its_place() -> None:
    page = PAGE.read_text("utf-8")

    assert '.SS "xmpp\\-onion server rotate [OPTIONS] DIR"' in page
    assert '.SS "xmpp\\-onion send [OPTIONS] TO...' in page


def test_no_letter_of_a_text_is_an_order_to_roff() -> None:
    page = write_page(entry('.so /etc/passwd\n\n\'x \\n(yr "q"', option(".x\n.so y")))

    assert "\n.so" not in page
    assert "\\&.so /etc/passwd" in page
    assert "\\&'x \\en(yr \\(dqq\\(dq" in page
    assert "\\&.x .so y" in page


def test_what_is_shown_as_it_is_keeps_its_lines() -> None:
    page = write_page(entry("\b\nfirst\n  second"))

    assert ".nf\nfirst\n  second\n.fi" in page
