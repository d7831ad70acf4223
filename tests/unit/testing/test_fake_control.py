import pytest

from xmpp_onion.testing.fake_control import FakeControl


def test_it_has_to_be_entered() -> None:
    with pytest.raises(RuntimeError, match="enter it first"):
        _ = FakeControl().place


async def test_it_listens_on_loopback_and_knows_no_connection_yet() -> None:
    async with FakeControl() as control:
        assert control.place.host == "127.0.0.1"
        assert control.connections == 0
