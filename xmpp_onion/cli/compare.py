"""Comparing a fingerprint: what is typed is what the other screen shows, not ours.

Whoever is asked "is it the same?" says yes. So the last groups are not shown here:
they have to be read from the owner's screen, and are compared by us.
"""

import re
from collections.abc import Sequence
from typing import Final

from xmpp_onion.cli.devices import grouped
from xmpp_onion.errors import FingerprintMismatchError, InvalidFingerprintError

__all__ = ["ENDING", "hidden", "is_ending", "match"]

ENDING: Final = 16
"""Hex digits that are read from the other screen: the last two groups of eight.

64 bits: nobody makes a key in years that ends as another does, and the six groups that
are shown can be compared besides.
"""

_HEX: Final = re.compile(r"[0-9a-f]+")


def hidden(fingerprint: str) -> str:
    """Return a fingerprint in groups, without those that are to be typed."""
    rest = " ".join(["????????"] * (ENDING // 8))
    return f"{grouped(fingerprint[:-ENDING])} {rest}"


def is_ending(typed: str) -> bool:
    """Tell whether that is the end of a fingerprint, and not all of one."""
    return len(_plain(typed)) == ENDING


def match(fingerprints: Sequence[str], typed: str, whose: str) -> str:
    """Return the fingerprint that ends as it was typed.

    Args:
        fingerprints: Those that are known.
        typed: The last two groups, as the other screen shows them.
        whose: Whose devices these are, for the error.

    Raises:
        InvalidFingerprintError: These are no two groups.
        FingerprintMismatchError: None ends so.
    """
    digits = _plain(typed)
    if len(digits) != ENDING or not _HEX.fullmatch(digits):
        raise InvalidFingerprintError(
            "these are not the last two groups of a fingerprint",
            why=f"they have {ENDING} hex digits",
            fix="Read them from the owner's screen: `xmpp-onion devices list` shows "
            "them there.",
        )
    found = [one for one in fingerprints if one.endswith(digits)]
    if len(found) != 1:
        raise FingerprintMismatchError(
            f"no device of {whose} ends so, and nothing was changed",
            why="somebody mistyped, or the key that we see is not theirs",
            fix="Read the groups once more, over a call or face to face; if they "
            "differ, say nothing that matters.",
        )
    return found[0]


def _plain(typed: str) -> str:
    return re.sub(r"[\s:]", "", typed).lower()
