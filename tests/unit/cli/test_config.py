from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command
from xmpp_onion.configuration import SETTINGS

CANARY = "canary-2718"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file where the user's is."""
    folder = tmp_path / ".config" / "xmpp-onion"
    folder.mkdir(parents=True)
    path = folder / "config.toml"
    path.touch(mode=0o600)
    return path


def shown(command: Command, *arguments: str, **environ: str) -> dict[str, list[object]]:
    done = command(*arguments, "config", "show", "--json", **environ)
    assert done.code == 0, done.out
    return {str(each["name"]): [each["value"], each["source"]] for each in done.lines}


def test_the_path_is_that_of_the_user_or_what_was_named(
    command: Command, file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"
    other.touch(mode=0o600)

    assert command("config", "path").out == f"{file}\n"
    assert command("config", "path", XMPP_ONION_CONFIG=str(other)).out == f"{other}\n"
    assert command("config", "path", "--config", str(other)).out == f"{other}\n"


def test_every_setting_is_shown_with_who_said_it(command: Command, file: Path) -> None:
    file.write_text(
        'socks = "127.0.0.1:1"\ncontrol = "127.0.0.1:2"\nlog.level = "debug"\n'
        "[profiles.alerts]\n"
        'log.format = "json"\n'
    )

    found = shown(
        command,
        "--profile",
        "alerts",
        XMPP_ONION_SOCKS="127.0.0.1:3",
        XMPP_ONION_BOT_PREFIX="?",
    )

    assert list(found) == list(SETTINGS)
    assert found["profile"] == ["alerts", "flag"]
    assert found["socks"] == ["127.0.0.1:3", "environment"]
    assert found["bot.prefix"] == ["?", "environment"]
    assert found["log.format"] == ["json", "profile"]
    assert found["control"] == ["127.0.0.1:2", "file"]
    assert found["bot.timeout"] == ["60.0", "default"]


def test_what_is_typed_is_a_flag_although_the_environment_says_it_too(
    command: Command,
) -> None:
    for before, after in (("--socks", "127.0.0.1:4"), ("--profile", "ops")):
        done = command(
            "config", "show", before, after, "--json", XMPP_ONION_PROFILE="env"
        )
        name = before.removeprefix("--")

        (line,) = (each for each in done.lines if each["name"] == name)
        assert (line["value"], line["source"]) == (after, "flag")


def test_one_setting_is_shown_alone(command: Command) -> None:
    done = command("config", "show", "bot.prefix")

    assert done.out == "bot.prefix = !  (default)\n"


@pytest.mark.parametrize("arguments", [["show"], ["set", "3"], ["unset"]])
def test_a_name_that_is_none_is_told_with_what_it_looks_like(
    command: Command, arguments: list[str]
) -> None:
    what, *value = arguments
    refused = command("config", what, "socket", *value)

    assert refused.code == 2
    assert "did you mean 'socks'?" in refused.err
    assert "bot.prefix" not in refused.err


def test_a_control_character_of_the_environment_cannot_act(command: Command) -> None:
    done = command("config", "show", "bot.language", XMPP_ONION_BOT_LANGUAGE="d\x1b[2J")

    assert "\x1b" not in done.out


@pytest.mark.parametrize(
    "text",
    [
        'sokcs = "127.0.0.1:9050"',
        f'socks = "{CANARY}"',
        f'[profiles.other]\nlog.level = "{CANARY}"',
        f"socks = {CANARY}",
    ],
)
def test_a_check_finds_what_is_wrong_and_quotes_no_value(
    command: Command, file: Path, text: str
) -> None:
    file.write_text(text)

    done = command("config", "check")

    assert done.code == 7
    assert str(file) in done.err
    assert CANARY not in done.err + done.out


def test_a_check_finds_a_file_that_others_can_read(
    command: Command, file: Path
) -> None:
    file.chmod(0o644)

    done = command("config", "check")

    assert done.code == 7
    assert "chmod" in done.err


def test_what_is_right_passes_the_check_and_so_does_no_file(
    command: Command, file: Path
) -> None:
    file.write_text('socks = "127.0.0.1:9050"')
    assert command("config", "check").out == f"{file}: nothing is wrong with it\n"

    file.unlink()
    (line,) = command("config", "check", "--json").lines
    assert (line["path"], line["exists"]) == (str(file), False)


def test_a_setting_is_set_checked_and_told_and_taken_out_again(
    command: Command, file: Path
) -> None:
    file.write_text("# mine\nsocks = '127.0.0.1:1'  # Tor\n")

    done = [
        command("config", "set", "bot.prefix", "?"),
        command("config", "set", "log.format", "json", "--profile", "alerts"),
        command("config", "set", "bot.timeout", "soon"),
        command("config", "set", "roles", "x"),
        command("config", "set", "nonsense", "x"),
        command(
            "config", "set", "bot.prefix", "+", "--json", XMPP_ONION_BOT_PREFIX="$"
        ),
        command("config", "unset", "bot.prefix"),
        command("config", "unset", "bot.prefix"),
    ]

    assert [each.code for each in done] == [0, 0, 2, 2, 2, 0, 0, 0]
    assert done[0].out == "bot.prefix = ?  (file)\n"
    assert done[1].out == "log.format = json  (profile)\n"
    assert "must be a number of seconds" in done[2].err
    assert [(x["value"], x["source"]) for x in done[5].lines] == [("$", "environment")]
    assert done[6].out == done[7].out == "bot.prefix = !  (default)\n"
    assert (done[6].err, done[7].err) == ("", "It was not set there.\n")
    assert file.read_text() == (
        "# mine\nsocks = '127.0.0.1:1'  # Tor\n\n"
        '[profiles.alerts]\nlog.format = "json"\n'
    )


def test_the_profile_of_the_environment_is_not_one_that_was_meant(
    command: Command, file: Path
) -> None:
    command("config", "set", "bot.prefix", "?", XMPP_ONION_PROFILE="alerts")

    assert file.read_text() == 'bot.prefix = "?"\n'


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_file_that_was_named_and_is_missing_is_made_by_set_alone(
    command: Command, tmp_path: Path, how: str
) -> None:
    path = tmp_path / "new" / "folder" / "mine.toml"
    option = ("--config", str(path)) if how == "option" else ()
    environ = {"XMPP_ONION_CONFIG": str(path)} if how == "variable" else {}

    assert command("config", "path", *option, **environ).out == f"{path}\n"
    for refused in (("show",), ("unset", "socks"), ("check",)):
        done = command("config", *refused, *option, **environ)
        assert done.code == 7
        assert f"config set --config {path}" in done.err
    assert not path.parent.exists()

    made = command("config", "set", "bot.prefix", "?", *option, **environ)

    assert made.code == 0, made.out
    assert "bot.prefix = ?  (file)" in made.out
    assert path.read_text() == 'bot.prefix = "?"\n'
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_value_that_cannot_be_makes_no_file(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "new" / "mine.toml"

    assert command("config", "set", "socks", "nowhere", "--config", str(path)).code == 2
    assert not path.parent.exists()
