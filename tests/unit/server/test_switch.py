"""A server has its old name or its new one, wherever what changes it is killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xmpp_onion.errors import ServerError
from xmpp_onion.server import switch
from xmpp_onion.server.folder import Folder
from xmpp_onion.server.initialisation import initialise

# Changes the files of one folder after the other, each time in a process that is
# killed before the n-th thing that it does to the disk: SIGKILL, so that nothing is
# tidied up. Prints how many were killed. Nobody waits for the disks: what SIGKILL
# leaves is seen without.
CHANGE = """
import os, signal, sys
from pathlib import Path
from xmpp_onion.server import switch

CALLS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.rmtree"}

def change(folder, left):
    def count(event, details):
        nonlocal left
        if event in CALLS:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    os.sync = lambda: None
    with switch.draft(folder) as draft:
        (draft / "data" / "deep").mkdir(parents=True)
        (draft / "data" / "deep" / "roster").write_text("new")
        (draft / "onion.key").write_text("new")
        (draft / "former-old.key").write_text("old")
        (draft / "server.json").write_text("new")
        switch.commit(folder)
    switch.finish(folder, folder / "prosody" / "data")

for left in range(1, 100):
    child = os.fork()
    if child == 0:
        change(Path(sys.argv[1]) / str(left), left)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(left - 1)
        break
"""


def make(folder: Path) -> Path:
    data = folder / "prosody" / "data" / "deep"
    data.mkdir(parents=True)
    folder.chmod(0o700)
    for path in (data / "roster", folder / "onion.key", folder / "server.json"):
        path.write_text("old")
    return folder


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


BEFORE = dict.fromkeys(("prosody/data/deep/roster", "onion.key", "server.json"), "old")
AFTER = dict.fromkeys(BEFORE, "new") | {"former-old.key": "old"}


def test_who_is_killed_leaves_the_old_server_or_the_new_one(tmp_path: Path) -> None:
    for left in range(1, 100):
        make(tmp_path / str(left))
    done = subprocess.run(
        [sys.executable, "-c", CHANGE, str(tmp_path)],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    killed, outcomes = int(done.stdout), []

    for left in range(1, killed + 1):
        folder = tmp_path / str(left)
        was_pending = switch.is_pending(folder)
        switch.finish(folder, folder / "prosody" / "data")
        switch.discard(folder)

        found = content(folder)
        assert found in (BEFORE, AFTER)
        assert not was_pending or found == AFTER
        outcomes.append(found == AFTER)

    assert outcomes == sorted(outcomes)  # from some point on it is the new one
    assert outcomes.count(False) >= 3
    assert outcomes.count(True) >= 8
    assert content(tmp_path / str(killed + 1)) == AFTER


def test_half_of_a_server_is_not_read(tmp_path: Path) -> None:
    initialise(tmp_path / "server")
    place = Folder(tmp_path / "server", None)
    (place.path / "rotation").mkdir()

    with pytest.raises(ServerError, match="just getting another name"):
        place.read_onion()

    (place.path / "rotation").rmdir()
    place.read_onion()


def test_the_next_start_does_what_was_left(tmp_path: Path) -> None:
    old = initialise(tmp_path / "server")
    new = initialise(tmp_path / "other")
    folder = tmp_path / "server"
    with switch.draft(folder) as draft:
        for name in ("onion.key", "address"):
            (tmp_path / "other" / name).rename(draft / name)
        (draft / "data").mkdir(mode=0o700)
        switch.commit(folder)

    assert new != old
    assert initialise(folder) == new
    assert not switch.is_pending(folder)


def test_a_draft_that_was_left_is_removed(tmp_path: Path) -> None:
    folder = make(tmp_path / "server")
    (folder / "rotation.new" / "data").mkdir(parents=True)

    with switch.draft(folder) as draft:
        assert list(draft.iterdir()) == []
    assert content(folder) == BEFORE
    assert not (folder / "rotation.new").exists()
