import json
import stat
import threading
from pathlib import Path

import pytest

from xmpp_onion.errors import ServerError, StorePermissionError
from xmpp_onion.server import clients
from xmpp_onion.server.clients import ClientKeys


def test_a_door_is_never_open_for_nobody(tmp_path: Path) -> None:
    # Tor refuses a service with an empty list; and a list of one says much.
    assert len(ClientKeys(tmp_path).admitted()) == 16


def test_a_key_that_is_given_was_let_in_already(tmp_path: Path) -> None:
    keys = ClientKeys(tmp_path)
    before = keys.admitted()

    given = [keys.give()[0].public for _ in range(15)]

    assert set(given) < before
    assert keys.admitted() == before
    assert len(set(given)) == 15


def test_more_are_made_when_none_is_left(tmp_path: Path) -> None:
    keys = ClientKeys(tmp_path)
    first = keys.admitted()
    for _ in range(16):
        keys.give()

    assert first < keys.admitted()
    assert len(keys.admitted()) == 32


def test_a_key_is_revoked_by_its_name_alone(tmp_path: Path) -> None:
    keys = ClientKeys(tmp_path)
    alice, _ = keys.give("alice")
    bob, _ = keys.give("bob")
    before = keys.admitted()

    assert keys.revoke("alice") == alice

    assert keys.guests() == (bob,)
    assert keys.admitted() == before - {alice.public}
    with pytest.raises(ServerError, match="door list"):
        keys.revoke("alice")


def test_names_that_are_taken_are_numbered(tmp_path: Path) -> None:
    keys = ClientKeys(tmp_path)
    names = [keys.give(name)[0].name for name in ("alice", "alice", "", "", "alice")]

    assert names == ["alice", "alice-2", "guest-1", "guest-2", "alice-3"]


def test_the_private_half_is_kept_nowhere_once_it_was_given(tmp_path: Path) -> None:
    _, private = ClientKeys(tmp_path).give("alice")

    assert private not in (tmp_path / "clients.json").read_text()


def test_nobody_else_reads_the_file(tmp_path: Path) -> None:
    keys = ClientKeys(tmp_path)
    keys.give()
    path = tmp_path / "clients.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    path.chmod(0o644)
    with pytest.raises(StorePermissionError):
        keys.admitted()


def test_there_is_room_for_as_many_as_tor_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_LIMIT", 17)
    keys = ClientKeys(tmp_path)
    for _ in range(17):
        keys.give()

    with pytest.raises(ServerError, match="no room"):
        keys.give()
    assert len(keys.admitted()) == 17
    keys.revoke("guest-1")
    keys.give("late")


def test_many_at_once_get_a_key_each(tmp_path: Path) -> None:
    given: list[str] = []

    def take() -> None:
        given.extend(ClientKeys(tmp_path).give()[1] for _ in range(5))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(given)) == 20
    assert len(ClientKeys(tmp_path).guests()) == 20


def test_each_change_is_seen_from_outside(tmp_path: Path) -> None:
    keys = ClientKeys(tmp_path)
    stamps = {keys.stamp}
    for step in (keys.admitted, keys.give, lambda: keys.revoke("guest-1")):
        step()
        stamps.add(keys.stamp)
    keys.admitted()
    stamps.add(keys.stamp)  # looking changes nothing

    assert len(stamps) == 4


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"v": 2, "guests": [], "spare": []}', '{"v": 1, "guests": [{}]}'],
)
def test_a_damaged_file_is_told_and_left_alone(text: str, tmp_path: Path) -> None:
    path = tmp_path / "clients.json"
    path.touch(mode=0o600)
    path.write_text(text)

    with pytest.raises(ServerError, match="damaged"):
        ClientKeys(tmp_path).admitted()
    assert path.read_text() == text


def test_a_spare_key_is_in_no_error(tmp_path: Path) -> None:
    keys = ClientKeys(tmp_path)
    keys.admitted()
    path = tmp_path / "clients.json"
    found = json.loads(path.read_text())
    secret = found["spare"][0][1]
    found["spare"][0] = secret  # not a pair any more
    path.write_text(json.dumps(found))

    with pytest.raises(ServerError) as caught:
        keys.admitted()
    assert secret not in repr(caught.value) + str(caught.value.__context__)
