from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from xmpp_onion.testing.tordirectory import Directory
from xmpp_onion.testing.tortemplate import Layout, TemplateSlot, default_template

DIRECTORY = Directory(b"consensus", b"onion-key\n", b"certificates")
LAYOUT = Layout({"auth0": (1, 2), "relay0": (3, 0)}, datetime.now(UTC))
TOO_OLD = Layout(LAYOUT.ports, datetime.now(UTC) - timedelta(hours=13))


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Return the folder of a network with all that a node may have."""
    folder = tmp_path / "network"
    for node in ("auth0", "relay0", "client"):
        (folder / node / "keys").mkdir(parents=True)
        (folder / node / "keys" / "key").write_text(f"key of {node}")
        for name in ("tor.log", "state", "lock", "control_auth_cookie", "torrc"):
            (folder / node / name).touch()
    (folder / "auth0" / "key-pinning-journal").touch()
    (folder / "in-use.lock").touch()
    return folder


def claim(template: Path) -> TemplateSlot:
    slot = TemplateSlot.claim(template, 4)
    assert slot is not None
    return slot


def test_what_was_saved_is_restored(tmp_path: Path, network: Path) -> None:
    slot = claim(tmp_path / "template")
    slot.save(network, LAYOUT, DIRECTORY)
    target = tmp_path / "target"
    target.mkdir()

    slot.restore(target)

    assert slot.layout() == LAYOUT
    caches = ["cached-certs", "cached-microdesc-consensus", "cached-microdescs"]
    kept = {
        node.name: sorted(path.name for path in node.iterdir())
        for node in target.iterdir()
    }
    assert kept == {
        "auth0": ["key-pinning-journal", "keys"],
        "relay0": [*caches, "keys"],
        "client": caches,
    }
    assert (target / "relay0/keys/key").read_text() == "key of relay0"
    slot.release()


def test_a_slot_serves_one_at_a_time_and_a_fifth_finds_none(tmp_path: Path) -> None:
    slots = [claim(tmp_path) for _ in range(4)]

    assert TemplateSlot.claim(tmp_path, 4) is None
    for slot in slots:
        slot.release()
    claim(tmp_path).release()


def test_networks_of_other_sizes_do_not_meet(tmp_path: Path, network: Path) -> None:
    slot = claim(tmp_path / "template")
    slot.save(network, LAYOUT, DIRECTORY)
    slot.release()

    other = TemplateSlot.claim(tmp_path / "template", 8)

    assert other is not None
    assert other.layout() is None
    other.release()


def test_keys_are_kept_where_nobody_else_looks(tmp_path: Path) -> None:
    claim(tmp_path / "template").release()

    for folder in (tmp_path / "template").iterdir():
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_slot_that_is_too_old_or_emptied_counts_as_empty(
    tmp_path: Path, network: Path
) -> None:
    slot = claim(tmp_path / "template")
    assert slot.layout() is None

    slot.save(network, TOO_OLD, DIRECTORY)
    assert slot.layout() is None

    slot.save(network, LAYOUT, DIRECTORY)
    slot.discard()
    assert slot.layout() is None
    slot.release()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", '{"ports": 1}', '{"ports": {"a": [1]}, "valid_after": "now"}'],
)
def test_a_layout_that_cannot_be_read_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="not a layout"):
        Layout.from_json(text)


def test_a_layout_survives_its_text() -> None:
    assert Layout.from_json(LAYOUT.to_json()) == LAYOUT
    assert LAYOUT.all_ports() == [1, 2, 3]


def test_a_consensus_from_the_future_is_not_fresh() -> None:
    assert LAYOUT.is_fresh(LAYOUT.valid_after)
    assert not LAYOUT.is_fresh(LAYOUT.valid_after - timedelta(seconds=1))
    assert not LAYOUT.is_fresh(LAYOUT.valid_after + timedelta(hours=12))


def test_the_default_lies_in_the_cache_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert tmp_path in default_template().parents
