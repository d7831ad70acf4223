"""What a check finds in the folder of a server that does not run."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from xmpp_onion.chat import Line
from xmpp_onion.errors import ServerError, StorePermissionError
from xmpp_onion.server import Door, Engine, Federation, examine, give_key, initialise
from xmpp_onion.server.checkup import _check_space, _check_state
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.health import Health, Load, State
from xmpp_onion.server.options import Options
from xmpp_onion.server.outside import check_circuits
from xmpp_onion.server.restarts import note_restart
from xmpp_onion.server.saved import note_backup

NOW = datetime.now(UTC)


@pytest.fixture
def place(tmp_path: Path) -> Folder:
    initialise(tmp_path / "server")
    return Folder(tmp_path / "server", find_unprivileged_user())


async def check(place: Folder, now: datetime = NOW) -> dict[str, Line]:
    return {
        str(line["name"]): line async for line in examine(place.path, now=now)
    }  # fmt: skip


def faults(lines: dict[str, Line]) -> set[str]:
    return {name for name, line in lines.items() if not line["ok"]}


async def test_a_new_server_is_well_and_what_is_not_seen_is_said(
    place: Folder,
) -> None:
    lines = await check(place)

    assert faults(lines) == set()
    assert list(lines) == [
        "state", "restarts", "files", "certificate", "configuration", "space",
        "backup", "prosody", "tls", "tor program", "door", "circuits", "federation",
        "listeners", "dns",
    ]  # fmt: skip
    for name in ("circuits", "listeners", "dns"):
        assert "not seen" in str(lines[name]["what"])


async def test_a_check_changes_nothing(place: Folder) -> None:
    def picture() -> dict[Path, tuple[int, int]]:
        found = {path: path.lstat() for path in place.path.rglob("*")}
        return {path: (one.st_mode, one.st_mtime_ns) for path, one in found.items()}

    before = picture()
    await check(place)

    assert picture() == before


async def test_nothing_is_checked_where_no_server_is(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="there is no server"):
        [line async for line in examine(tmp_path, now=NOW)]


@pytest.mark.parametrize("name", ["", "onion.key"])
async def test_a_folder_or_address_that_is_open_to_others_is_refused(
    place: Folder, name: str
) -> None:
    (place.path / name).chmod(0o755)

    with pytest.raises(StorePermissionError):
        await check(place)


def open_archive(place: Folder) -> None:
    (place.data / "archive").touch(mode=0o604)
    (place.data / "archive").chmod(0o604)


def open_data(place: Folder) -> None:
    place.data.chmod(0o750)


def open_options(place: Folder) -> None:
    place.options_file.chmod(0o640)


@pytest.mark.parametrize(
    "spoil", [open_archive, open_data, open_options]
)  # fmt: skip
async def test_a_file_that_others_can_reach_is_named(
    place: Folder, spoil: Callable[[Folder], None]
) -> None:
    spoil(place)

    lines = await check(place)

    assert faults(lines) == {"files"}
    assert str(place.path) in str(lines["files"]["what"])
    assert "chmod" in str(lines["files"]["fix"])
    assert lines["files"]["code"] == 7


@pytest.mark.parametrize(
    ("now", "word"),
    [
        (NOW, ""),
        (NOW - timedelta(days=3), "holds from"),
        (NOW + timedelta(days=3600), ""),
        (NOW + timedelta(days=3625), "ends at"),
        (NOW + timedelta(days=3700), "ends at"),
    ],
)
async def test_a_certificate_out_of_its_time_is_a_fault(
    place: Folder, now: datetime, word: str
) -> None:
    line = (await check(place, now))["certificate"]

    assert line["ok"] is (not word)
    assert word in str(line["why"])


async def test_a_certificate_of_another_name_or_key_is_a_fault(
    place: Folder, tmp_path: Path
) -> None:
    other = Folder(tmp_path / "other", find_unprivileged_user())
    initialise(other.path)
    certificates = place.prosody / "certs"
    own = certificates / f"{place.read_onion()}.crt"
    theirs = other.prosody / "certs" / f"{other.read_onion()}.crt"

    own.write_bytes(theirs.read_bytes())
    of_another_key = (await check(place))["certificate"]
    own.with_suffix(".key").write_bytes(theirs.with_suffix(".key").read_bytes())
    of_another_name = (await check(place))["certificate"]
    own.unlink()
    missing = (await check(place))["certificate"]

    assert "another" in str(of_another_key["why"])
    assert "is not for" in str(of_another_name["why"])
    assert missing["ok"] is False


@pytest.mark.parametrize("name", ["prosody.cfg.lua", "modules/mod_s2s_onion.lua"])
async def test_a_limit_or_a_module_that_somebody_changed_is_a_fault(
    place: Folder, name: str
) -> None:
    path = place.prosody / name
    path.write_text(f"{path.read_text()}\nc2s_stanza_size_limit = 1\n")

    changed = await check(place)
    path.unlink()
    missing = await check(place)

    assert faults(changed) == faults(missing) == {"configuration"}
    assert name in str(changed["configuration"]["why"])
    assert "\n+c2s_stanza_size_limit = 1" in str(changed["configuration"]["why"])


async def test_of_a_file_that_is_another_one_a_few_lines_are_shown(
    place: Folder,
) -> None:
    place.config_file.write_text("x = 1\n" * 1000 + "y" * 1000)

    why = str((await check(place))["configuration"]["why"])

    assert why.endswith("\n…")
    assert len(why) < 2000


async def test_a_server_that_ends_again_and_again_is_a_fault(place: Folder) -> None:
    found = []
    for hours in (30, 20, 10, 1):
        found.append((await check(place))["restarts"])
        note_restart(place.path, "prosody", now=NOW - timedelta(hours=hours))
    last = (await check(place))["restarts"]
    later = (await check(place, NOW + timedelta(days=2)))["restarts"]

    assert [line["ok"] for line in (*found, last, later)] == [True] * 4 + [False, True]
    assert "3 times within a day" in str(last["why"])


async def test_a_backup_that_is_old_is_a_fault(place: Folder) -> None:
    never = (await check(place))["backup"]
    note_backup(place, NOW)
    fresh = (await check(place, NOW + timedelta(days=29)))["backup"]
    old = (await check(place, NOW + timedelta(days=31)))["backup"]

    assert [line["ok"] for line in (never, fresh, old)] == [True, True, False]
    assert "server backup" in str(never["what"])
    assert "31 days" in str(old["what"])


def test_of_what_counts_nothing_no_number_is_told() -> None:
    assert "not counted" in str(_check_state(Health(State.UP)))
    assert "3 logged in" in str(_check_state(Health(State.UP, Load(3, version="1"))))


@pytest.mark.parametrize("told", [True, False, None])
def test_limits_that_hold_for_no_circuit_are_a_fault(*, told: bool | None) -> None:
    finding = check_circuits(Health(State.UP, tells_circuits=told), Options())

    assert isinstance(finding, ServerError) == (told is False)


async def test_the_doors_and_other_servers_are_told(place: Folder) -> None:
    place.write_options(
        replace(place.read_options(), door=Door.BOTH, federation=Federation.LISTED)
    )
    give_key(place.path, "alice")

    lines = await check(place)

    assert lines["door"]["what"] == "private, for 1 key(s), beside the public one"
    assert faults(lines) == {"federation"}
    assert "none is listed" in str(lines["federation"]["what"])


async def test_that_a_private_door_closes_a_server_to_others_is_told(
    place: Folder,
) -> None:
    place.write_options(replace(place.read_options(), door=Door.PRIVATE))

    lines = await check(place)

    assert faults(lines) == set()
    assert "as long as its door is private" in str(lines["federation"]["what"])


async def test_of_a_server_of_ejabberd_its_folder_is_looked_at(place: Folder) -> None:
    place.write_options(
        replace(place.read_options(), engine=Engine.EJABBERD, federation=Federation.OFF)
    )

    lines = await check(place)
    place.ejabberd.joinpath("ejabberd.yml").write_text("hosts: []\n")
    changed = await check(place)

    assert faults(lines) == set()
    assert "not for ejabberd" in str(lines["prosody"]["what"])
    assert "not for ejabberd" in str(lines["circuits"]["what"])
    assert faults(changed) == {"configuration"}


def test_a_disk_that_is_nearly_full_is_a_fault() -> None:
    assert isinstance(_check_space(1024**3 - 1), ServerError)
    assert _check_space(1024**3) == "1.0 GiB are free"


@pytest.mark.parametrize("state", State)
def test_a_server_that_should_be_up_and_is_not_is_a_fault(state: State) -> None:
    is_fault = isinstance(_check_state(Health(state)), ServerError)

    assert is_fault == (state in {State.UNREACHABLE, State.MENDING})
