from pathlib import Path

import pytest

from xmpp_onion.glance import Known, look, profiles
from xmpp_onion.store import ContactRow, Contacts, Database

ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"


async def add(database: Database, name: str) -> None:
    async with database.transaction():
        await Contacts(database).put([ContactRow(f"{name}@{ONION}", "both", ask=False)])


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def test_who_is_known_is_seen_also_while_somebody_holds_the_account(
    tmp_path: Path,
) -> None:
    async with Database.open(tmp_path / "store.sqlite3") as database:
        await add(database, "carol")
        assert look(tmp_path, Known.CONTACTS) == [f"carol@{ONION}"]
        await add(database, "bob")
        assert look(tmp_path, Known.CONTACTS) == [f"bob@{ONION}", f"carol@{ONION}"]
    assert look(tmp_path, Known.CONTACTS) == [f"bob@{ONION}", f"carol@{ONION}"]


async def test_looking_leaves_no_file_behind(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "store.sqlite3") as database:
        await add(database, "carol")
    before = files(tmp_path)

    for known in Known:
        look(tmp_path, known)

    assert files(tmp_path) == before


@pytest.mark.parametrize("content", [None, b"", b"noise" * 1000])
def test_nobody_is_known_where_nothing_can_be_read(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "store.sqlite3").write_bytes(content)

    assert look(tmp_path, Known.ROOMS) == []


@pytest.mark.parametrize(
    "jid",
    [f"$(reboot)@{ONION}", f"a b@{ONION}", "-rf", f"`x`@{ONION}", "a;b", "é@b", ""],
)
async def test_what_is_more_than_a_word_to_a_shell_is_not_told(
    tmp_path: Path, jid: str
) -> None:
    async with (
        Database.open(tmp_path / "store.sqlite3") as database,
        database.transaction(),
    ):
        await Contacts(database).put([ContactRow(jid, "both", ask=False)])

    assert look(tmp_path, Known.CONTACTS) == []


def test_a_profile_is_a_folder_with_an_account(tmp_path: Path) -> None:
    for name in ("ops", "default", "empty", "$(x)", ".state"):
        (tmp_path / name).mkdir()
        if name != "empty":
            (tmp_path / name / "account.toml").touch()

    assert profiles(tmp_path) == ["default", "ops"]
    assert profiles(tmp_path / "missing") == []
