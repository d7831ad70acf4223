from itertools import islice
from pathlib import Path

import pytest

from xmpp_onion.errors import (
    AuthenticationError,
    BootstrapError,
    CertificateError,
    DialError,
    DialTimeoutError,
    FeatureMissingError,
    InvalidJIDError,
    NotAcknowledgedError,
    OnionNotFoundError,
    SessionError,
    SessionLostError,
    StreamViolationError,
    TorNotFoundError,
    TorNotRunningError,
)
from xmpp_onion.session.connection import (
    TRANSITIONS,
    Event,
    IllegalTransitionError,
    State,
    advance,
    backoff,
    diagram,
    is_fatal,
    is_for_anyone,
    is_tor_away,
)

DOC = Path(__file__).parents[3] / "docs/explanation/connection-states.md"
LEGAL = {
    (State.OFFLINE, Event.START): State.DIALING,
    (State.OFFLINE, Event.STOP): State.CLOSED,
    (State.DIALING, Event.DIALED): State.NEGOTIATING,
    (State.DIALING, Event.LOST): State.WAITING,
    (State.DIALING, Event.REFUSED): State.CLOSED,
    (State.DIALING, Event.STOP): State.CLOSED,
    (State.NEGOTIATING, Event.READY): State.ONLINE,
    (State.NEGOTIATING, Event.LOST): State.WAITING,
    (State.NEGOTIATING, Event.REFUSED): State.CLOSED,
    (State.NEGOTIATING, Event.STOP): State.CLOSED,
    (State.ONLINE, Event.LOST): State.WAITING,
    (State.ONLINE, Event.REFUSED): State.CLOSED,
    (State.ONLINE, Event.STOP): State.CLOSED,
    (State.WAITING, Event.RETRY): State.DIALING,
    (State.WAITING, Event.STOP): State.CLOSED,
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_each_move_is_the_one_intended_or_illegal(state: State, event: Event) -> None:
    if (state, event) in LEGAL:
        assert advance(state, event) is LEGAL[state, event]
    else:
        with pytest.raises(IllegalTransitionError, match=f"{event.name} while"):
            advance(state, event)


def test_the_table_mentions_every_state_and_closed_is_the_end() -> None:
    assert set(TRANSITIONS) == set(State)
    assert not TRANSITIONS[State.CLOSED]


def test_every_state_but_closed_can_be_stopped() -> None:
    assert all(Event.STOP in TRANSITIONS[s] for s in State if s is not State.CLOSED)


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[State.CLOSED] = {}  # type: ignore[index] # that it fails is the point


def test_the_documentation_shows_the_table() -> None:
    assert f"```mermaid\n{diagram()}\n```" in DOC.read_text()


def test_backoff_doubles_up_to_its_limit() -> None:
    assert list(islice(backoff(2, 10, lambda: 1.0), 5)) == [2, 4, 8, 10, 10]


def test_backoff_waits_the_share_that_jitter_says() -> None:
    shares = iter([0.0, 0.5, 1.0])
    assert list(islice(backoff(2, 300, lambda: next(shares)), 3)) == [0, 2, 8]


def test_backoff_never_waits_longer_than_its_limit_even_at_first() -> None:
    assert next(backoff(60, 5, lambda: 1.0)) == 5


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("x"),
        CertificateError("x"),
        FeatureMissingError("x", feature="XEP-0198"),
        InvalidJIDError("x"),
        SessionLostError("x"),
        DialError("x", host="h", can_retry=False),
    ],
)
def test_what_a_retry_cannot_cure_is_fatal(error: Exception) -> None:
    assert is_fatal(error)


def test_only_what_tor_itself_lacks_means_that_tor_is_away() -> None:
    here = [
        TorNotRunningError("x"),
        TorNotFoundError("x"),
        BootstrapError("x", percent=1),
    ]
    beyond = [DialTimeoutError("x", host="h"), SessionError("x"), OSError()]

    assert all(map(is_tor_away, here))
    assert not any(map(is_tor_away, beyond))


@pytest.mark.parametrize(
    "error",
    [
        OnionNotFoundError("x", host="h"),
        DialError("x", host="h"),
        TorNotRunningError("x"),
        BootstrapError("x", percent=5),
        SessionError("x"),
        StreamViolationError("x", condition="policy-violation"),
        NotAcknowledgedError("x"),
        TimeoutError(),
        OSError(),
    ],
)
def test_what_a_retry_may_cure_is_not_fatal(error: Exception) -> None:
    assert not is_fatal(error)


@pytest.mark.parametrize(
    "condition",
    ["", "not-well-formed", "unsupported-stanza-type", "undefined-condition", "novel"],
)
def test_a_stream_error_that_may_be_about_our_words_is_not_for_anyone(
    condition: str,
) -> None:
    assert not is_for_anyone(condition)
