"""Settings: who counts most, and what is refused."""

from pathlib import Path

import pytest

from xmpp_onion import configuration as settings
from xmpp_onion.configuration import Configuration, Source
from xmpp_onion.errors import ConfigurationError, StorePermissionError

ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"
ROOT_JID = f"root@{ONION}"
DIGITS = "0123456789abcdef" * 4
CANARY = "canary-2718"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.touch(mode=0o600)
    return path


def load(
    file: Path, text: str, flags: dict[str, object] | None = None, **environ: str
) -> Configuration:
    file.write_text(text)
    return Configuration.load(flags=flags, path=file, environ=environ)


EVERYWHERE = """
socks = "file:1"
[profiles.alerts]
socks = "profile:2"
"""


def test_what_is_typed_counts_most_and_then_the_environment(file: Path) -> None:
    alerts: dict[str, object] = {"profile": "alerts"}

    found = [
        load(file, EVERYWHERE, {**alerts, "socks": "flag:4"}, XMPP_ONION_SOCKS="env:3"),
        load(file, EVERYWHERE, {**alerts, "socks": None}, XMPP_ONION_SOCKS="env:3"),
        load(file, EVERYWHERE, alerts),
        load(file, EVERYWHERE, {"profile": "another"}),
        load(file, "", alerts),
    ]

    assert [(f[settings.SOCKS], f.entry(settings.SOCKS).source) for f in found] == [
        ("flag:4", Source.FLAG),
        ("env:3", Source.ENVIRONMENT),
        ("profile:2", Source.PROFILE),
        ("file:1", Source.FILE),
        (None, Source.DEFAULT),
    ]


def test_the_profile_is_chosen_in_the_same_order(file: Path) -> None:
    text = 'profile = "ops"\n[profiles.ops.log]\nformat = "json"\n'

    assert load(file, text).profile == "ops"
    assert load(file, text)[settings.LOG_FORMAT] == "json"
    assert load(file, text, XMPP_ONION_PROFILE="bob").profile == "bob"
    assert load(file, text, XMPP_ONION_PROFILE="bob")[settings.LOG_FORMAT] == "text"
    assert load(file, text, {"profile": "al"}, XMPP_ONION_PROFILE="bob").profile == "al"


def test_pins_and_roles_are_read_in_their_one_form(file: Path) -> None:
    grouped = " ".join(DIGITS[at : at + 8] for at in range(0, 64, 8)).upper()
    found = load(
        file,
        f'[trust]\npolicy = "firstusage"\n[trust.pins]\n"{ROOT_JID}/phone" = '
        f'["{grouped}"]\n[roles]\nadmin = ["{ROOT_JID}"]\n',
    )

    assert found[settings.TRUST_POLICY] == "tofu"
    assert found[settings.TRUST_PINS] == {ROOT_JID: frozenset({DIGITS})}
    assert found[settings.ROLES] == {"admin": frozenset({ROOT_JID})}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('sock = "a:1"', "Did you mean socks?"),
        ('[trust]\npin = {"a@b" = []}', "Did you mean trust.pins?"),
        ('[profile.alerts]\nsocks = "a:1"', "profile must be a text"),
        ('[profiles.alerts]\nprofile = "b"', "stands at the top only"),
        ('[profiles.alerts]\nsocks = "no port"', "socks must be HOST:PORT"),
        ("profiles = 1", "is the table of the profiles"),
        ("[profiles]\nalerts = 1", "must be a table"),
        ("socks = 9050", "socks must be HOST:PORT"),
        ("trust = 1", "'trust' is none"),
        ('trust.policy = "everybody"', "must be one of pinned"),
        ('trust.pins = "x"', "trust.pins must be a table"),
        (f'trust.pins = {{"{ROOT_JID}" = ["abc"]}}', "no fingerprint of 64 hex digits"),
        (f'trust.pins = {{"{ROOT_JID}" = "{DIGITS}"}}', "must have a list of texts"),
        (f'trust.pins = {{"root@example.org" = ["{DIGITS}"]}}', "is no address"),
        (f'roles.admin = ["{ONION}"]', "nobody's address"),
        ("bot.timeout = 0", "more than 0 seconds"),
        ("bot.timeout = true", "a number of seconds"),
        ("bot.timeout = nan", "more than 0 seconds"),
        ('bot.replay = "perhaps"', "true or false"),
        ('bot.prefix = "! "', "without blanks"),
        ('log.format = "xml"', "must be one of text, json"),
        ("x = [", "is no TOML"),
    ],
)
def test_what_is_not_known_or_cannot_be_is_an_error(
    file: Path, text: str, words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(file, text)

    assert words in f"{caught.value} {caught.value.fix}"


@pytest.mark.parametrize(
    "text",
    [
        f'password = "{CANARY}"',
        f'socks = "{CANARY}"',
        f'x = "{CANARY}',
        f'log.format = "{CANARY}"',
    ],
)
def test_a_value_that_is_refused_is_not_quoted(file: Path, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(file, text)

    error = caught.value
    assert CANARY not in f"{error} {error.fix} {error!r} {error.__cause__!r}"


def test_a_variable_is_checked_as_the_file_is(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"XMPP_ONION_BOT_TIMEOUT cannot be"):
        load(file, "", XMPP_ONION_BOT_TIMEOUT="soon")
    assert load(file, "", XMPP_ONION_BOT_TIMEOUT="5")[settings.BOT_TIMEOUT] == 5.0
    assert load(file, "", XMPP_ONION_BOT_REPLAY="True")[settings.BOT_REPLAY] is True


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o602])
def test_a_file_that_others_reach_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(StorePermissionError):
        Configuration.load(path=file, environ={})


def test_only_a_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    missing = tmp_path / "config.toml"
    with pytest.raises(ConfigurationError, match="there is no file"):
        Configuration.load(path=missing, environ={})
    with pytest.raises(ConfigurationError, match="there is no file"):
        Configuration.load(environ={"XMPP_ONION_CONFIG": str(missing)})


def test_a_file_without_end_is_not_read_to_its_end(file: Path) -> None:
    with pytest.raises(ConfigurationError, match="too long"):
        load(file, "#" * 1024 * 1024)


def test_what_is_shown_of_a_secret_is_that_it_is_there(file: Path) -> None:
    secret = settings.Setting("x", str, "", "", is_secret=True)
    entry = settings.Entry(secret, CANARY, Source.FILE)  # type: ignore[arg-type] # any setting

    assert entry.shown == "(set)"
    assert CANARY not in repr(entry)
    assert "file:1" not in repr(load(file, EVERYWHERE))


def test_each_setting_has_a_line_in_the_documentation() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "configuration.md"
    rows = [line for line in page.read_text().splitlines() if line.startswith("| `")]

    assert [row.split("`")[1] for row in rows] == list(settings.SETTINGS)
    for row, setting in zip(rows, settings.SETTINGS.values(), strict=True):
        assert f"`{setting.variable}`" in row or not setting.variable
