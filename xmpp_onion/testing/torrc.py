"""The configuration of a private Tor network's nodes: text in, text out.

Every line here was measured to be needed, or says why it is wanted. What the
options mean: tor(1), sections "TESTING NETWORK OPTIONS" and "DIRECTORY
AUTHORITY SERVER OPTIONS".
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from xmpp_onion.errors import TorError

__all__ = [
    "LOOPBACK",
    "NodePlan",
    "Role",
    "authority_line",
    "join_lines",
    "parked_offset",
    "read_fingerprint",
    "read_identity",
    "render",
    "voting_offset",
]

LOOPBACK = "127.0.0.1"
"""Where all nodes listen."""

# Seconds. Tor refuses less than 2 for either delay.
_VOTE_DELAY = 2
_DIST_DELAY = 2
_FIRST_INTERVAL = 60
# Half an hour. A service numbers its descriptors by the seconds since up to 36
# intervals before the consensus, and tor's counter ends at 131072 seconds: past
# it, no service can publish a second time (tor's hs_ope.h, OPE_INPUT_MAX). This
# leaves 18 hours for the age of a consensus that a template keeps.
_INTERVAL = 1800
_INTERVALS_VALID = 48
# How long the first vote is held back, in seconds: longer than any start takes
# to collect the descriptors, less than an interval.
_PARKED = 50

_JOIN = """\
TestingTorNetwork 1
PathsNeededToBuildCircuits 0.67
AssumeReachable 1
GeoIPFile /dev/null
GeoIPv6File /dev/null
"""
_COMMON = """\
DisableDebuggerAttachment 0
ShutdownWaitLength 0
SafeLogging 0
AvoidDiskWrites 1
CookieAuthentication 1
Log notice stdout
"""
# Without CountPrivateBandwidth 0 the authority alone advertises bandwidth in the
# first consensus. It is then drawn as last hop every time, a client whose guard
# it is asks for paths through it twice, and such a client never bootstraps.
# No exits: the open network cannot be reached even by mistake.
_RELAY = """\
Address 127.0.0.1
CountPrivateBandwidth 0
ServerDNSDetectHijacking 0
ExitRelay 0
ExitPolicy reject *:*
"""
# AuthDirTestReachability: a relay not probed before the vote would be left out.
_AUTHORITY = f"""\
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
ContactInfo test@test.invalid
AuthDirTestReachability 0
TestingDirAuthVoteGuard *
TestingDirAuthVoteHSDir *
TestingMinExitFlagThreshold 0
TestingV3AuthInitialVotingInterval {_FIRST_INTERVAL}
TestingV3AuthInitialVoteDelay {_VOTE_DELAY}
TestingV3AuthInitialDistDelay {_DIST_DELAY}
V3AuthVotingInterval {_INTERVAL}
V3AuthVoteDelay {_VOTE_DELAY}
V3AuthDistDelay {_DIST_DELAY}
V3AuthNIntervalsValid {_INTERVALS_VALID}
"""


class Role(StrEnum):
    """What a node does in the network."""

    AUTHORITY = "authority"
    RELAY = "relay"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node: who it is, where its files lie, where it listens on loopback.

    Attributes:
        name: Of the node, and of its folder.
        role: What it does in the network.
        folder: Where its files lie.
        control_port: Of its control port.
        or_port: What other nodes dial; 0 for a client.
        listen_port: Where tor really listens when something stands in front of
            `or_port`, else the same.
        dir_port: The authority's directory; 0 for all others.
        socks_port: A client's door; 0 for all others.
    """

    name: str
    role: Role
    folder: Path
    control_port: int
    or_port: int = 0
    listen_port: int = 0
    dir_port: int = 0
    socks_port: int = 0


def render(plan: NodePlan, authority: str, *, owner: int, offset: int) -> str:
    """Return the torrc of a node.

    Args:
        plan: The node.
        authority: The network's `authority_line`.
        owner: A process id; tor looks every 15 seconds whether it lives.
        offset: `parked_offset` or `voting_offset`; read by the authority only.
    """
    parts = [
        _JOIN + _COMMON,
        f"{authority}\n",
        f"Nickname {plan.name}\n",
        f"DataDirectory {plan.folder}\n",
        f"ControlPort {LOOPBACK}:{plan.control_port}\n",
        f"__OwningControllerProcess {owner}\n",
        _socks(plan),
    ]
    if plan.role is not Role.CLIENT:
        parts += [_RELAY, _or_port(plan)]
    if plan.role is Role.AUTHORITY:
        parts += [
            _AUTHORITY,
            f"DirPort {LOOPBACK}:{plan.dir_port}\n",
            f"TestingV3AuthVotingStartOffset {offset}\n",
        ]
    return "".join(parts)


def _socks(plan: NodePlan) -> str:
    if plan.role is not Role.CLIENT:
        return "SocksPort 0\n"
    return f"SocksPort {LOOPBACK}:{plan.socks_port} ExtendedErrors IsolateSOCKSAuth\n"


def _or_port(plan: NodePlan) -> str:
    if plan.listen_port == plan.or_port:
        return f"ORPort {LOOPBACK}:{plan.or_port}\n"
    return (
        f"ORPort {LOOPBACK}:{plan.or_port} NoListen\n"
        f"ORPort {LOOPBACK}:{plan.listen_port} NoAdvertise\n"
    )


def authority_line(plan: NodePlan, identity: str, fingerprint: str) -> str:
    """Return the ``DirAuthority`` line that makes a tor trust this network.

    Args:
        plan: The authority.
        identity: From `read_identity`.
        fingerprint: From `read_fingerprint`.
    """
    return (
        f"DirAuthority {plan.name} orport={plan.or_port} v3ident={identity} "
        f"{LOOPBACK}:{plan.dir_port} {fingerprint}"
    )


def join_lines(authority: str) -> tuple[str, ...]:
    """Return the lines that let any other tor join as a client."""
    return (*_JOIN.splitlines(), authority)


def read_identity(certificate: str) -> str:
    """Return the 40 hex digits of a directory key certificate's identity."""
    return _hex_digits(r"^fingerprint ([0-9A-F]{40})$", certificate)


def read_fingerprint(text: str) -> str:
    """Return the 40 hex digits in tor's file ``fingerprint`` (nickname, digits)."""
    return _hex_digits(r"^\S+ ([0-9A-F]{40})$", text)


def _hex_digits(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise TorError("tor's key files are not as expected", why=ascii(text[:200]))
    return found[1]


def parked_offset(now: float) -> int:
    """Return the voting offset that holds the first vote back for a while.

    Otherwise the authority may vote before it knows every relay, and who is
    missing from the first consensus is missing for half an hour.

    Args:
        now: Seconds since the epoch.
    """
    return int(now + _PARKED) % _FIRST_INTERVAL


def voting_offset(now: float) -> int:
    """Return the voting offset that starts the first vote at once.

    Args:
        now: Seconds since the epoch.
    """
    return (int(now) + _VOTE_DELAY + _DIST_DELAY + 1) % _FIRST_INTERVAL
