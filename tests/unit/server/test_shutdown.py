"""Stopping a server that is not there; the rest is in tests/integration/server."""

from pathlib import Path

import pytest

from xmpp_onion.errors import ServerError
from xmpp_onion.server import initialise, stop


async def test_a_server_that_does_not_run_cannot_be_stopped(tmp_path: Path) -> None:
    initialise(tmp_path)

    with pytest.raises(ServerError) as caught:
        await stop(tmp_path)

    assert "server up" in caught.value.fix
    assert "does not run" in caught.value.what


async def test_an_empty_folder_is_not_a_server(tmp_path: Path) -> None:
    with pytest.raises(ServerError) as caught:
        await stop(tmp_path)

    assert "there is no server" in caught.value.what
