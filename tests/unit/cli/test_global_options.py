"""The options of every command, before its name and after it."""

import click
import pytest

from xmpp_onion.cli.global_options import global_options, take_global_options
from xmpp_onion.cli.settings import Settings


@click.command("inner")
@click.option("--own")
@click.pass_obj
def inner(settings: Settings, own: str | None) -> str:
    """Return what was typed."""
    return f"{settings.socks} {settings.profile} {own}"


def outer() -> click.Group:
    command = click.Command("inner", params=[*inner.params], callback=inner.callback)
    take_global_options(command)
    return click.Group("outer", commands=[command], params=[*global_options()])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--socks h:1 inner --own x", "h:1 default x"),
        ("inner --socks h:1", "h:1 default None"),
        ("--socks h:1 inner --socks h:2 --profile p", "h:2 p None"),
    ],
)
def test_they_stand_before_or_after_and_the_last_counts(
    line: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XMPP_ONION_SOCKS", "of-the-environment:1")

    found = outer().main(line.split(), standalone_mode=False, obj=Settings())

    assert found == said


def test_what_was_typed_before_counts_more_than_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XMPP_ONION_SOCKS", "of-the-environment:1")
    line = ["--socks", "h:1", "inner"]

    assert outer().main(line, standalone_mode=False, obj=Settings()) == (
        "h:1 default None"
    )


def test_a_command_does_not_show_them_and_takes_them_once() -> None:
    command = outer().commands["inner"]
    before = len(command.params)
    take_global_options(command)

    assert len(command.params) == before
    assert "--socks" not in command.get_help(click.Context(command))
    assert "Options of every command" in str(command.epilog)
