import stat
from concurrent.futures import Executor
from pathlib import Path

import pytest

from xmpp_onion.errors import (
    StorePermissionError,
    TorNotFoundError,
    TorNotRunningError,
)
from xmpp_onion.transport.process import launched

DIES = "#!/bin/sh\necho '[warn] Failed to parse: Nonsense'\nexit 3\n"


async def _launch(data_dir: Path, pool: Executor, program: str) -> None:
    async with launched(data_dir, program=program, extra=("Extra 1",), pool=pool):
        pass


@pytest.fixture
def dying(tmp_path: Path) -> str:
    """A program that ends at once, as tor does when it dislikes its torrc."""
    program = tmp_path / "tor"
    program.write_text(DIES)
    program.chmod(0o700)
    return str(program)


async def test_a_missing_program_names_the_command_that_installs_it(
    tmp_path: Path, pool: Executor
) -> None:
    with pytest.raises(TorNotFoundError, match="apt-get install tor"):
        await _launch(tmp_path / "data", pool, "no-such-tor")
    assert not (tmp_path / "data").exists()


async def test_a_tor_that_dies_at_its_start_is_quoted(
    tmp_path: Path, pool: Executor, dying: str
) -> None:
    with pytest.raises(TorNotRunningError, match="exit status 3") as caught:
        await _launch(tmp_path / "data", pool, dying)
    assert "Failed to parse: Nonsense" in caught.value.why


async def test_everything_is_private_whatever_the_umask(
    tmp_path: Path, pool: Executor, dying: str
) -> None:
    with pytest.raises(TorNotRunningError):
        await _launch(tmp_path / "a" / "data", pool, dying)

    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in [tmp_path / "a" / "data", *(tmp_path / "a" / "data").iterdir()]
    }
    assert modes == {"data": 0o700, "torrc": 0o600, "tor.log": 0o600, "in-use": 0o600}


async def test_the_torrc_fences_tor_in_and_ties_it_to_us(
    tmp_path: Path, pool: Executor, dying: str
) -> None:
    folder = tmp_path / 'da"ta\\'
    with pytest.raises(TorNotRunningError):
        await _launch(folder, pool, dying)

    lines = (folder / "torrc").read_text().splitlines()
    assert f'DataDirectory "{tmp_path}/da\\"ta\\\\"' in lines
    assert "SafeSocks 1" in lines
    assert "CookieAuthentication 1" in lines
    assert lines[-1] == "Extra 1"
    assert any("ExtendedErrors IsolateSOCKSAuth OnionTrafficOnly" in x for x in lines)
    assert any(x.startswith("__OwningControllerProcess ") for x in lines)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
async def test_a_folder_that_others_can_enter_is_refused(
    mode: int, tmp_path: Path, pool: Executor, dying: str
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(mode)

    with pytest.raises(StorePermissionError, match="chmod 700"):
        await _launch(folder, pool, dying)


async def test_a_file_in_place_of_the_folder_is_refused(
    tmp_path: Path, pool: Executor, dying: str
) -> None:
    (tmp_path / "data").write_text("")

    with pytest.raises(StorePermissionError):
        await _launch(tmp_path / "data", pool, dying)
