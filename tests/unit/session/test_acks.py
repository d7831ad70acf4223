import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.errors import StreamViolationError
from xmpp_onion.session.acks import WRAP, IncomingAcks, OutgoingAcks


def sent(count: int) -> OutgoingAcks[int]:
    acks: OutgoingAcks[int] = OutgoingAcks()
    for number in range(1, count + 1):
        acks.add(f"<{number}/>", number)
    return acks


def test_an_ack_returns_exactly_what_it_covers() -> None:
    acks = sent(5)
    assert acks.acknowledge(2) == [1, 2]
    assert acks.acknowledge(2) == []
    assert list(acks.unacknowledged()) == ["<3/>", "<4/>", "<5/>"]
    assert acks.acknowledge(5) == [3, 4, 5]
    assert len(acks) == 0


def test_stanzas_without_a_token_count_and_return_nothing() -> None:
    acks: OutgoingAcks[int] = OutgoingAcks()
    acks.add("<iq/>")
    acks.add("<message/>", 7)
    assert acks.acknowledge(1) == []
    assert acks.acknowledge(2) == [7]


@pytest.mark.parametrize("count", [-1, 4, WRAP - 1, WRAP, 2**64])
def test_an_ack_for_what_was_never_sent_marks_nothing(count: int) -> None:
    acks = sent(3)
    with pytest.raises(StreamViolationError, match="never sent"):
        acks.acknowledge(count)
    assert len(acks) == 3


def test_an_ack_cannot_go_back() -> None:
    acks = sent(3)
    acks.acknowledge(2)
    with pytest.raises(StreamViolationError):
        acks.acknowledge(1)


def test_counters_go_on_past_their_32_bits() -> None:
    acks = sent(0)
    acks.acknowledged = WRAP - 1
    acks.add("<a/>", 1)
    acks.add("<b/>", 2)
    assert acks.acknowledge(0) == [1]
    assert acks.acknowledge(1) == [2]


def test_forgetting_returns_what_was_lost_and_starts_at_zero() -> None:
    acks = sent(3)
    acks.acknowledge(1)
    assert acks.forget() == [2, 3]
    acks.add("<x/>", 9)
    assert acks.acknowledge(1) == [9]


def test_handled_is_the_longest_run_without_a_gap() -> None:
    acks = IncomingAcks()
    first, second = acks.receive(handled=False), acks.receive(handled=False)
    acks.receive(handled=True)
    assert acks.handled == 0
    acks.settle(second)
    assert acks.handled == 0
    acks.settle(first)
    assert acks.handled == 3


def test_after_a_rewind_old_tickets_mean_nothing() -> None:
    acks = IncomingAcks()
    acks.receive(handled=True)
    old = acks.receive(handled=False)
    acks.rewind(acks.handled)
    again = acks.receive(handled=False)
    acks.settle(old)
    assert acks.handled == 1
    acks.settle(again)
    assert acks.handled == 2


def test_a_new_stream_counts_from_zero() -> None:
    acks = IncomingAcks()
    acks.receive(handled=True)
    acks.forget()
    assert acks.handled == 0


@given(st.lists(st.booleans(), max_size=50), st.randoms())
def test_settling_in_any_order_ends_with_everything_handled(
    flags: list[bool], random: "object"
) -> None:
    acks = IncomingAcks()
    tickets = [acks.receive(handled=flag) for flag in flags]
    random.shuffle(tickets)  # type: ignore[attr-defined] # hypothesis's random.Random
    highest = 0
    for ticket in tickets:
        acks.settle(ticket)
        assert acks.handled >= highest
        highest = acks.handled
    assert acks.handled == len(flags)


def test_what_is_revised_is_sent_again_in_its_new_form_and_still_counts() -> None:
    acks: OutgoingAcks[str] = OutgoingAcks()
    for data in ("a", "b", "c"):
        acks.add(data, data)

    acks.revise("b", "better")
    acks.revise("unknown", "never")

    assert list(acks.unacknowledged()) == ["a", "better", "c"]
    assert acks.acknowledge(2) == ["a", "b"]


def test_what_was_written_and_is_not_acknowledged_is_known() -> None:
    acks = sent(3)
    assert acks.written == 0
    acks.mark_written()
    acks.acknowledge(1)
    assert acks.written == 2
    acks.add("<4/>", 4)
    acks.acknowledge(3)
    assert acks.written == 0
    assert list(acks.unacknowledged()) == ["<4/>"]


def test_a_stream_may_begin_with_what_was_said_for_an_earlier_one() -> None:
    acks = sent(4)
    acks.acknowledge(1)
    assert acks.forget(keep=2) == [4]
    assert (acks.acknowledged, acks.written) == (0, 2)
    assert acks.acknowledge(2) == [2, 3]


def test_what_went_along_with_the_login_is_not_written_again() -> None:
    assert list(sent(3).unacknowledged(after=2)) == ["<3/>"]


def test_how_much_waits_is_known_after_all_that_can_happen() -> None:
    acks: OutgoingAcks[int] = OutgoingAcks()
    for text in ("one", "three", "seven"):
        acks.add(text)
    assert acks.characters == 13

    acks.acknowledge(1)
    assert acks.characters == 10
    acks.revise("three", "3")
    assert acks.characters == 6
    acks.forget(keep=1)
    assert acks.characters == 1
    acks.forget()
    assert acks.characters == 0
