"""What state a connection is in, and what may happen next: one table.

Nothing here does I/O. Every legal move stands in :data:`TRANSITIONS`; nothing
else changes a state. ``docs/explanation/connection-states.md`` shows the same
table as a picture, drawn by :func:`diagram`.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum, auto
from types import MappingProxyType

from xmpp_onion.errors import (
    AddressError,
    AuthenticationError,
    BootstrapError,
    CertificateError,
    DialError,
    FeatureMissingError,
    MovedError,
    RegistrationError,
    SessionError,
    SessionLostError,
    TorNotFoundError,
    TorNotRunningError,
    XmppOnionError,
)

__all__ = [
    "TRANSITIONS",
    "Event",
    "IllegalTransitionError",
    "State",
    "advance",
    "as_ours",
    "backoff",
    "diagram",
    "is_fatal",
    "is_for_anyone",
    "is_tor_away",
]


class State(Enum):
    """Where a connection is."""

    OFFLINE = auto()
    DIALING = auto()
    NEGOTIATING = auto()
    ONLINE = auto()
    WAITING = auto()
    CLOSED = auto()


class Event(Enum):
    """What can happen to a connection."""

    START = auto()
    DIALED = auto()
    READY = auto()
    LOST = auto()
    RETRY = auto()
    REFUSED = auto()
    STOP = auto()


TRANSITIONS: Mapping[State, Mapping[Event, State]] = MappingProxyType(
    {
        State.OFFLINE: {Event.START: State.DIALING, Event.STOP: State.CLOSED},
        State.DIALING: {
            Event.DIALED: State.NEGOTIATING,
            Event.LOST: State.WAITING,
            Event.REFUSED: State.CLOSED,
            Event.STOP: State.CLOSED,
        },
        State.NEGOTIATING: {
            Event.READY: State.ONLINE,
            Event.LOST: State.WAITING,
            Event.REFUSED: State.CLOSED,
            Event.STOP: State.CLOSED,
        },
        State.ONLINE: {
            Event.LOST: State.WAITING,
            Event.REFUSED: State.CLOSED,
            Event.STOP: State.CLOSED,
        },
        State.WAITING: {Event.RETRY: State.DIALING, Event.STOP: State.CLOSED},
        State.CLOSED: {},
    }
)

# A retry can only repeat these: nothing changes until somebody does something.
_FATAL = (
    AddressError,
    AuthenticationError,
    CertificateError,
    FeatureMissingError,
    MovedError,
    RegistrationError,
    SessionLostError,
)
# Stream errors that say how the server is, and not what it thinks of our words
# (RFC 6120, section 4.9.3). All others, and those of tomorrow, may mean our words.
_FOR_ANYONE = frozenset(
    {
        "conflict",
        "connection-timeout",
        "internal-server-error",
        "policy-violation",
        "remote-connection-failed",
        "reset",
        "resource-constraint",
        "system-shutdown",
    }
)


class IllegalTransitionError(RuntimeError):
    """An event came in a state where it cannot: a mistake in this package."""


def advance(state: State, event: Event) -> State:
    """Return the state that ``event`` leads to.

    Raises:
        IllegalTransitionError: The table has no such move.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransitionError(f"{event.name} while {state.name}") from None


def backoff(first: float, limit: float, jitter: Callable[[], float]) -> Iterator[float]:
    """Yield the delay before each next attempt, in seconds, without end.

    The whole delay is random ("full jitter"), so that the clients of a server
    that comes back do not come back together.

    Args:
        first: The longest first delay; it doubles from attempt to attempt.
        limit: No delay is longer.
        jitter: Returns the share of the delay that is waited, 0 to 1.
    """
    longest = min(first, limit)
    while True:
        yield longest * jitter()
        longest = min(longest * 2, limit)


def is_fatal(error: BaseException) -> bool:
    """Tell whether trying again is pointless until somebody changes something."""
    if isinstance(error, DialError):
        return not error.can_retry
    return isinstance(error, _FATAL)


def is_tor_away(error: BaseException) -> bool:
    """Tell whether it is Tor on this machine that failed, and not the way beyond."""
    return isinstance(error, BootstrapError | TorNotFoundError | TorNotRunningError)


def is_for_anyone(condition: str) -> bool:
    """Tell whether a stream error would have come whatever we had said.

    Args:
        condition: Its name; what is no stream error is not for anyone.
    """
    return condition in _FOR_ANYONE


def diagram() -> str:
    """Return the table as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.OFFLINE.name}"]
    lines += [
        f"    {state.name} --> {target.name}: {event.name}"
        for state, moves in TRANSITIONS.items()
        for event, target in moves.items()
    ]
    lines.append(f"    {State.CLOSED.name} --> [*]")
    return "\n".join(lines)


def as_ours(error: Exception) -> XmppOnionError:
    """Return what ended an attempt as an error of this package."""
    if isinstance(error, XmppOnionError):
        return error
    return SessionError(
        "the login did not finish",
        why=f"{type(error).__name__} after the connection was made",
        fix="It is tried again by itself.",
    )
