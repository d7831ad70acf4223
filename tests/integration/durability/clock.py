"""Processes that live in another time than the rest of the machine.

libfaketime stands between a program and the system's clock, and reads what time it
is from a file, so that the clock can jump while the program runs. What measures how
much time has passed (the monotonic clock) stays as it is, as on a real machine.
"""

from pathlib import Path
from typing import NamedTuple


class Setting(NamedTuple):
    """A clock and what happens to it.

    Attributes:
        start: At first, as libfaketime writes it.
        later: After some messages, in mid-session.
        zone: The time zone; empty leaves it.
        zone_later: That of the next process.
    """

    start: str
    later: str
    zone: str = ""
    zone_later: str = ""


SETTINGS = {
    "1970": Setting("@1970-01-01 00:00:05", "@1970-01-01 00:00:05"),
    "2040": Setting("@2040-02-29 12:00:00", "@2040-02-29 12:00:00"),
    "jump back a day": Setting("+0", "-1d"),
    "zones": Setting("+0", "+0", "Pacific/Kiritimati", "Pacific/Niue"),
    "jump ahead a day": Setting("+0", "+1d"),
    "an hour ahead": Setting("+1h", "+1h"),
    "an hour behind": Setting("-1h", "-1h"),
    "a day ahead": Setting("+1d", "+1d"),
    "a day behind": Setting("-1d", "-1d"),
    "2038": Setting("@2038-01-19 03:14:05", "@2038-01-19 03:14:05"),
    "2100": Setting("@2100-03-01 00:00:00", "@2100-03-01 00:00:00"),
    "from 1970 to now": Setting("@1970-01-02 00:00:00", "+0"),
}


def library() -> Path:
    """Return libfaketime, for programs with threads."""
    places = [Path("/usr/lib"), Path("/usr/local/lib")]
    for place in places:
        for path in place.glob("**/faketime/libfaketimeMT.so.1"):
            return path
    raise FileNotFoundError("install faketime")


def clocked(clock: Path, zone: str) -> dict[str, str]:
    """Return the environment of a process by another clock.

    Args:
        clock: The file that says what time it is.
        zone: Its time zone; empty leaves it.
    """
    return {
        "LD_PRELOAD": str(library()),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",  # its older name
        "NO_FAKE_STAT": "1",
        **({"TZ": zone} if zone else {}),
    }
