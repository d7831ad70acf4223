"""One setting is changed, and nothing else."""

import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion import locks
from xmpp_onion.configuration import SETTINGS, Configuration
from xmpp_onion.configuration.edit import read_value, set_value, unset_value
from xmpp_onion.errors import ConfigurationError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "xmpp-onion" / "config.toml"


def written(file: Path, text: str) -> Path:
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(text)
    return file


def set_socks(file: Path) -> None:
    set_value(file, "socks", "h:1")


def unset_socks(file: Path) -> None:
    unset_value(file, "socks")


WHOLE = """\
# My settings.
socks = "127.0.0.1:9150"   # Tor Browser's, not "#" the system's

# How it logs.
log.format = "text"

# The alerts.
[profiles.alerts]
log.format = "json"
# How they are called.

[profiles.alerts.bot]
prefix = "!"
[profiles."my own".trust]
policy = "pinned"
"""


@pytest.mark.parametrize(
    ("name", "value", "profile", "old", "new"),
    [
        ("socks", "127.0.0.1:1", None, '"127.0.0.1:9150"   #', '"127.0.0.1:1"  #'),
        ("control", "h:1", None, '"text"\n', '"text"\ncontrol = "h:1"\n'),
        ("log.format", "json", None, '= "text"', '= "json"'),
        ("log.level", "debug", None, '= "text"\n', '= "text"\nlog.level = "debug"\n'),
        ("log.format", "text", "alerts", '"json"', '"text"'),
        ("socks", "h:1", "alerts", '"json"\n', '"json"\nsocks = "h:1"\n'),
        ("bot.prefix", "?", "alerts", 'prefix = "!"', 'prefix = "?"'),
        ("bot.replay", "True", "alerts", '"!"\n', '"!"\nreplay = true\n'),
        ("bot.timeout", "90", "alerts", '"!"\n', '"!"\ntimeout = 90\n'),
        ("trust.policy", "tofu", "my own", '"pinned"', '"tofu"'),
        ("control", "h:1", "my own", '"pinned"\n',
         '"pinned"\n\n[profiles."my own"]\ncontrol = "h:1"\n'),
        ("socks", "h:1", "a b", '"pinned"\n',
         '"pinned"\n\n[profiles."a b"]\nsocks = "h:1"\n'),
        ("profile", "alerts", "alerts", '"text"\n', '"text"\nprofile = "alerts"\n'),
    ],
)  # fmt: skip
def test_one_line_is_another_and_all_else_stays(
    file: Path, name: str, value: str, profile: str | None, old: str, new: str
) -> None:
    written(file, WHOLE)

    set_value(file, name, read_value(SETTINGS[name], value), profile)

    assert file.read_text() == WHOLE.replace(old, new)
    Configuration.load(path=file, environ={})


def test_a_file_that_is_missing_is_made_for_this_user_alone(file: Path) -> None:
    set_value(file, "socks", "h:1")

    assert file.read_text() == 'socks = "h:1"\n'
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("change", [set_socks, unset_socks])
def test_what_another_process_writes_meanwhile_stays(
    file: Path, change: Callable[[Path], object]
) -> None:
    written(file, 'socks = "h:0"\n')
    with (
        ThreadPoolExecutor(1) as pool,
        locks.hold(file.with_name("config.toml.lock")),
    ):
        changing = pool.submit(change, file)
        wait([changing], timeout=0.3)  # it must not come to its end
        written(file, 'socks = "h:0"\ncontrol = "h:2"\n')
    changing.result()

    assert 'control = "h:2"' in file.read_text()
    assert '"h:0"' not in file.read_text()


@pytest.mark.parametrize(
    ("name", "profile", "gone"),
    [
        ("log.format", None, 'log.format = "text"\n'),
        ("bot.prefix", "alerts", 'prefix = "!"\n'),
        ("trust.policy", "my own", 'policy = "pinned"\n'),
    ],
)
def test_a_setting_is_taken_out_and_all_else_stays(
    file: Path, name: str, profile: str | None, gone: str
) -> None:
    written(file, WHOLE)

    assert unset_value(file, name, profile)

    assert file.read_text() == WHOLE.replace(gone, "")
    assert not unset_value(file, name, profile)
    assert file.read_text() == WHOLE.replace(gone, "")


@pytest.mark.parametrize(
    "text",
    [
        'log = { format = "text" }\n',
        'log.format = """\ntext"""\n',
        "log.format = '''\ntext'''\n",
        'x = """\nlog.format = "json"\n"""\nlog.format = """text"""\n',
    ],
)
def test_what_is_not_understood_is_left_as_it_is(file: Path, text: str) -> None:
    written(file, text)

    with pytest.raises(ConfigurationError, match="was not changed"):
        set_value(file, "log.format", "json")
    with pytest.raises(ConfigurationError, match="was not changed"):
        unset_value(file, "log.format")
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("log.format", "xml", "must be one of text, json"),
        ("bot.timeout", "soon", "must be a number of seconds"),
        ("bot.replay", "perhaps", "must be true or false"),
        ("socks", "nowhere", "must be HOST:PORT"),
        ("roles", "admin", "is a table"),
        ("trust.pins", "x", "is a table"),
    ],
)
def test_a_value_that_cannot_be_is_refused(name: str, value: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}"):
        read_value(SETTINGS[name], value)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
)
def test_any_text_is_written_as_it_is_read(
    tmp_path_factory: pytest.TempPathFactory, value: str, profile: str
) -> None:
    file = written(tmp_path_factory.mktemp("any") / "config.toml", WHOLE)

    for own in (None, profile):
        set_value(file, "bot.language", value, own)

    found = tomllib.loads(file.read_bytes().decode())
    assert found["bot"]["language"] == value
    assert found["profiles"][profile]["bot"]["language"] == value


def test_a_sign_of_a_comment_may_stand_in_a_text(file: Path) -> None:
    written(file, 'passphrase_file = "/a#b"  # "mine"\r\n')

    set_value(file, "passphrase_file", "/c#d")

    assert file.read_bytes() == b'passphrase_file = "/c#d"  # "mine"\r\n'
