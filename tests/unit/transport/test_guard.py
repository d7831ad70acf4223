import pytest

from xmpp_onion.transport import Guard


def test_nothing_is_asked_for_by_default() -> None:
    guard = Guard()

    assert (guard.flags, guard.arguments, guard.work) == ((), (), ())


def test_a_public_door_asks_a_flood_for_work_and_bounds_streams() -> None:
    guard = Guard.public()

    assert guard.work[0] == "PoWDefensesEnabled=1"
    assert [word.partition("=")[0] for word in guard.work[1:]] == [
        "PoWQueueRate",
        "PoWQueueBurst",
    ]
    assert guard.flags == ("MaxStreamsCloseCircuit",)
    assert guard.arguments == ("MaxStreams=32",)


def test_a_private_door_names_each_client_once_in_an_order_of_its_own() -> None:
    guard = Guard.private(["B", "A", "B"])

    assert guard.flags == ("V3Auth", "MaxStreamsCloseCircuit")
    assert guard.arguments == ("MaxStreams=32", "ClientAuthV3=A", "ClientAuthV3=B")
    assert guard.work == ()


def test_a_private_door_for_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="one client"):
        Guard.private([])
