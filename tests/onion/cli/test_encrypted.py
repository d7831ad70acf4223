"""An account that is encrypted at rest, from its invite on, over a real onion."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.onion.cli.conftest import Person, World


pytestmark = pytest.mark.onion

TEXT = "canary-of-what-was-said-51c7"
# Long: four letters come by chance in one of some five thousand encrypted stores.
DAVE = "dave-whom-nobody-knows"


@pytest.fixture
def opened(tmp_path: Path) -> tuple[str, str]:
    """The option that opens an account, with a passphrase in a file."""
    path = tmp_path / "passphrase"
    path.touch(mode=0o600)
    path.write_text("correct horse battery staple\n")
    return "--passphrase-file", str(path)


def test_an_encrypted_account_is_made_and_used_and_leaves_no_trace(
    world: "World", alice: "Person", opened: tuple[str, str]
) -> None:
    dave = world.enrol(DAVE, *opened)

    with dave.runs("listen", "--json", *opened) as listen:
        assert listen.line()["event"] == "ready"
        assert alice.run("send", dave.jid, "-m", TEXT).code == 0
        while listen.line().get("body") != TEXT:
            pass
        beside = dave.run("send", alice.jid, "-m", TEXT, "--json")
        raw = [path.read_bytes() for path in dave.folder.iterdir() if path.is_file()]

    closed = dave.run("send", alice.jid, "-m", "hi", "--json")
    alone = dave.run("send", alice.jid, "-m", "hi", "--json", *opened)
    doctor = dave.run("doctor", "--offline", *opened)
    raw += [path.read_bytes() for path in dave.folder.iterdir() if path.is_file()]

    ended = (beside, closed, alone, doctor)
    assert [done.code for done in ended] == [0, 7, 0, 0], ended
    assert len(raw) >= 6  # twice account.toml, the store and its lock
    for told in (TEXT, DAVE, "alice", world.onion, "SQLite format"):
        assert not [data for data in raw if told.encode() in data], told
    assert world.run("--profile", DAVE, "account", "remove", "--yes").code == 0
    assert not dave.folder.exists()


def test_an_account_in_use_is_encrypted_and_keeps_its_device(
    world: "World", alice: "Person", opened: tuple[str, str]
) -> None:
    erin = world.enrol("erin")
    assert erin.run("send", alice.jid, "-m", "before").code == 0

    done = erin.run("account", "encrypt", "--json", *opened)
    listed = erin.run("devices", "list", "--json", *opened)

    assert (done.code, done.lines[0]["event"]) == (0, "encrypted")
    assert [line["fingerprint"] for line in listed.lines] == [erin.fingerprint]
    assert erin.run("send", alice.jid, "-m", "after", *opened).code == 0
    assert erin.run("account", "remove", "--yes").code == 0
