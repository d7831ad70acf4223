"""What a server is to be, kept in server.json."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import ServerError
from xmpp_onion.server.options import Door, Engine, Federation, Options
from xmpp_onion.server.ports import Ports

PEER = OnionAddress.from_public_key(bytes(32))
CHOSEN = Options(
    door=Door.BOTH,
    federation=Federation.LISTED,
    peers=(PEER,),
    engine=Engine.EJABBERD,
    ports=Ports(20001, 20002, 20003, 20004, 20005),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "server.json"


def write(file: Path, **changes: object) -> None:
    CHOSEN.save(file)
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("options", [CHOSEN, Options()], ids=["chosen", "default"])
def test_what_is_saved_is_loaded(file: Path, options: Options) -> None:
    options.save(file)

    assert Options.load(file) == options
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_file_of_the_first_version_is_read(file: Path) -> None:
    file.write_text('{"v": 1, "c2s_port": 20001, "http_port": 20002}\n')

    ports = Ports(c2s=20001, http=20002)
    assert Options.load(file) == Options(ports=ports, federation=Federation.OFF)


def test_what_is_not_mentioned_has_its_default(file: Path) -> None:
    file.write_text('{"v": 2}')

    assert Options.load(file) == Options()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dor": "public"}, "'dor'"),
        ({"door": "open"}, "'open' is not a valid Door"),
        ({"door": ["public"]}, "is not a valid Door"),
        ({"federation": None}, "'None' is not a valid Federation"),
        ({"engine": "metronome"}, "Engine"),
        ({"peers": ["example.com"]}, "not an onion address"),
        ({"peers": str(PEER)}, "peers is a list"),
        ({"ports": {"ftp": 1}}, "no port 'ftp'"),
        ({"ports": {"c2s": "1"}}, "a port is a number"),
        ({"ports": {"c2s": True}}, "a port is a number"),
        ({"ports": {"c2s": 65536}}, "a port is a number"),
        ({"ports": [1, 2]}, "ports is an object"),
        ({"v": 3}, "a newer xmpp-onion wrote it"),
    ],
)
def test_what_nobody_understands_is_refused(
    file: Path, changes: dict[str, object], why: str
) -> None:
    write(file, **changes)

    with pytest.raises(ServerError) as caught:
        Options.load(file)

    assert why in caught.value.why
    assert f"rm -f {file}" in caught.value.fix


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "\x00", '{"v": 1}', "3"])
def test_a_damaged_file_is_refused(file: Path, text: str) -> None:
    file.write_text(text)

    with pytest.raises(ServerError) as caught:
        Options.load(file)

    assert caught.value.why == "it is missing or damaged"


def test_the_onion_has_the_ports_of_what_is_on_and_no_others() -> None:
    ports = CHOSEN.ports

    closed = Options(ports=ports, federation=Federation.OFF)

    of_all = {80: 20002, 5222: 20001, 5280: 20002, 443: 20003}
    assert closed.onion_ports == of_all
    listed = replace(CHOSEN, engine=Engine.PROSODY)
    assert listed.onion_ports == {
        80: 20002,
        5222: 20001,
        5280: 20002,
        443: 20003,
        5269: 20004,
    }
    assert listed.listening_ports == {20001, 20002, 20003, 20004, 20005}


def test_behind_a_private_door_there_are_no_other_servers() -> None:
    private = Options(door=Door.PRIVATE, ports=CHOSEN.ports)

    assert private.partners is Federation.OFF
    assert 5269 not in private.onion_ports
    assert replace(private, door=Door.BOTH).partners is Federation.OPEN


def test_ejabberd_has_fewer_ports() -> None:
    assert CHOSEN.onion_ports == {5222: 20001, 443: 20003}
    assert CHOSEN.listening_ports == {20001, 20003}


def test_missing_ports_are_chosen_and_the_others_kept() -> None:
    options = Options(ports=Ports(c2s=20001)).with_all_ports()

    assert options.ports.c2s == 20001
    assert all(options.ports)
