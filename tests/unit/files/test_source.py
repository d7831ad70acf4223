from pathlib import Path

import pytest

from xmpp_onion.errors import FileChangedError, FileError
from xmpp_onion.files.source import Source


def test_a_file_is_read_whole_or_in_part(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(range(256)) * 4096)
    source = Source(path)

    assert b"".join(source.read()) == path.read_bytes()
    assert b"".join(source.read(1000, 300)) == path.read_bytes()[1000:1300]


@pytest.mark.parametrize("change", [b"", b"short", b"other text!", b"a longer text"])
def test_a_file_that_was_written_meanwhile_is_refused(
    tmp_path: Path, change: bytes
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"first text.")
    source = Source(path)
    path.write_bytes(change)

    with pytest.raises(FileChangedError):
        list(source.read())


def test_a_file_that_was_exchanged_is_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "x", tmp_path / "y"
    path.write_bytes(b"text")
    other.write_bytes(b"text")
    source = Source(path)
    other.replace(path)

    with pytest.raises(FileChangedError):
        list(source.read())


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no file"):
        Source(tmp_path)
    with pytest.raises(FileError, match="No such file"):
        Source(tmp_path / "none")
