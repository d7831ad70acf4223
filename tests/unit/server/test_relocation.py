"""Prosody's data under another name, and nothing else of it changed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import OnionAddress
from xmpp_onion.server import relocation
from xmpp_onion.server.relocation import relocate

OLD, NEW = (OnionAddress.from_public_key(bytes([number] * 32)) for number in (1, 2))


def label(name: OnionAddress) -> str:
    return name.removesuffix(".onion")


def copy(source: Path, target: Path) -> int:
    return relocate(
        source,
        target,
        old=OLD,
        new=NEW,
        owner=os.geteuid(),
        hand_over=lambda _: None,
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for kind in ("", "muc%2e", "share%2e"):
        (tmp_path / "data" / f"{kind}{label(OLD)}%2eonion" / "config").mkdir(
            parents=True
        )
    return tmp_path / "data"


@pytest.fixture
def put(source: Path) -> Callable[[str, bytes], Path]:
    def write(name: str, content: bytes) -> Path:
        path = source / name.replace("{}", label(OLD))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write


def test_names_change_in_files_and_in_what_they_are_called(
    source: Path, put: Callable[[str, bytes], Path], tmp_path: Path
) -> None:
    put("{}%2eonion/roster/alice.dat", f'["bob@{OLD}"] = {{}};'.encode())
    put("muc%2e{}%2eonion/config/friends.dat", f'["friends@muc.{OLD}"]'.encode())
    put("{}%2eonion/vcard_muc/bob%40{}%2eonion.dat", b"x")

    assert copy(source, tmp_path / "new") == 3

    root, other = tmp_path / "new", label(NEW)
    assert (root / f"{other}%2eonion" / "roster" / "alice.dat").read_text() == (
        f'["bob@{NEW}"] = {{}};'
    )
    assert (root / f"muc%2e{other}%2eonion" / "config" / "friends.dat").exists()
    assert all(label(OLD) not in str(path) for path in root.rglob("*"))
    assert {path.stat().st_mode & 0o777 for path in root.rglob("*.dat")} == {0o600}


def test_what_was_uploaded_is_the_same_file(
    source: Path, put: Callable[[str, bytes], Path], tmp_path: Path
) -> None:
    said = f"encrypted, and by chance {OLD}".encode()
    file = put("share%2e{}%2eonion/http_file_share/slot.bin", said)

    copy(source, tmp_path / "new")

    shared = tmp_path / "new" / f"share%2e{label(NEW)}%2eonion/http_file_share/slot.bin"
    assert shared.read_bytes() == said
    assert shared.samefile(file)


def test_links_and_sockets_are_left_out(
    source: Path, put: Callable[[str, bytes], Path], tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("of somebody else")
    (source / "link.dat").symlink_to(tmp_path / "secret")
    put("prosody.pid", b"1")
    put("kept.dat", b"x")

    assert copy(source, tmp_path / "new") == 1


@given(parts=st.lists(st.binary(max_size=90), max_size=6), chunk=st.integers(1, 200))
def test_a_name_is_found_wherever_a_chunk_ends(
    parts: list[bytes], chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("data")
    (folder / "data").mkdir()
    before, after = label(OLD).encode(), label(NEW).encode()
    (folder / "data" / "a.list").write_bytes(before.join(parts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relocation, "_CHUNK_BYTES", chunk)

        copy(folder / "data", folder / "new")

    assert (folder / "new" / "a.list").read_bytes() == after.join(parts)
