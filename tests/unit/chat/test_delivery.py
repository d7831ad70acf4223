from itertools import product

import pytest

from xmpp_onion.chat import DeliveryState

QUEUED, ACKED, RECEIVED, DISPLAYED, FAILED = DeliveryState


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (QUEUED, ACKED),
        (QUEUED, FAILED),
        (QUEUED, RECEIVED),
        (ACKED, RECEIVED),
        (ACKED, DISPLAYED),
        (ACKED, FAILED),
        (RECEIVED, DISPLAYED),
    ],
)
def test_a_state_goes_forward(before: DeliveryState, after: DeliveryState) -> None:
    assert before.may_become(after)


@pytest.mark.parametrize(("state", "later"), list(product(DeliveryState, repeat=2)))
def test_no_state_ever_goes_back(state: DeliveryState, later: DeliveryState) -> None:
    assert not (state.may_become(later) and later.may_become(state))


@pytest.mark.parametrize("state", [RECEIVED, DISPLAYED])
def test_what_has_arrived_cannot_fail(state: DeliveryState) -> None:
    assert not state.may_become(FAILED)


@pytest.mark.parametrize("state", DeliveryState)
def test_what_has_failed_stays_so(state: DeliveryState) -> None:
    assert not FAILED.may_become(state)


def test_what_is_displayed_has_been_received_and_what_failed_has_not() -> None:
    assert DISPLAYED.has_reached(RECEIVED)
    assert RECEIVED.has_reached(ACKED)
    assert not ACKED.has_reached(RECEIVED)
    assert not FAILED.has_reached(ACKED)
    assert not ACKED.has_reached(FAILED)
