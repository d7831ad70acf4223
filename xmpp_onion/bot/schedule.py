"""When a job is due: every so often, or by five fields as cron has them; in UTC."""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final, Literal, Protocol

from xmpp_onion.durations import read_duration

__all__ = ["Schedule", "read_schedule"]

# The least and greatest value of each field: minute, hour, day, month, weekday, with
# 7 for Sunday as well.
_FIELDS: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_PART: Final = re.compile(r"(\*|[0-9]{1,2}(?:-[0-9]{1,2})?)(?:/([1-9][0-9]?))?")
_SHORTEST: Final = timedelta(seconds=1)
# 29 February on a given weekday comes back within forty years.
_FARTHEST_DAYS: Final = 366 * 41


class _Times(Protocol):
    """When something is due; `Every` and `Cron` say so."""

    def after(self, moment: datetime) -> datetime:
        """Return the next time that is due later than ``moment``."""


@dataclass(frozen=True, slots=True)
class Every:
    """So often, counted from the last time.

    Attributes:
        pause: From one time to the next.
    """

    pause: timedelta

    def after(self, moment: datetime) -> datetime:
        """Return the next time that is due later than ``moment``."""
        return moment + self.pause


@dataclass(frozen=True, slots=True)
class Cron:
    """At the times that five fields name.

    Attributes:
        minutes: Of an hour.
        hours: Of a day.
        days: Of a month; None for every day.
        months: Of a year.
        weekdays: 0 for Sunday; None for every day. Where both kinds of days are
            named, one of them is enough, as in crontab(5).
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None

    @classmethod
    def read(cls, text: str) -> "Cron":
        """Return what five fields say.

        Raises:
            ValueError: They are not five, or one is out of range.
        """
        fields = text.split()
        if len(fields) != len(_FIELDS):
            raise ValueError(f"{text!a} must have five fields: minute to weekday")
        minutes, hours, days, months, weekdays = (
            _read_field(field, *limits)
            for field, limits in zip(fields, _FIELDS, strict=True)
        )
        return cls(
            minutes,
            hours,
            None if fields[2] == "*" else days,
            months,
            None if fields[4] == "*" else frozenset(day % 7 for day in weekdays),
        )

    def after(self, moment: datetime) -> datetime:
        """Return the next time that is due later than ``moment``.

        Raises:
            ValueError: There is none: the 30th of February.
        """
        first = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        for number in range(_FARTHEST_DAYS):
            day = first.date() + timedelta(days=number)
            if not self._is_day(day.month, day.day, day.isoweekday() % 7):
                continue
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    at = datetime.combine(day, time(hour, minute), UTC)
                    if at >= first:
                        return at
        raise ValueError("that day never comes")

    def _is_day(self, month: int, day: int, weekday: int) -> bool:
        if month not in self.months:
            return False
        if self.days is None or self.weekdays is None:
            return (self.days is None or day in self.days) and (
                self.weekdays is None or weekday in self.weekdays
            )
        return day in self.days or weekday in self.weekdays


def _read_field(text: str, least: int, greatest: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!a} is no field of a schedule")
        span, step = match.groups()
        first, last = least, greatest
        if span != "*":
            begin, _, end = span.partition("-")
            first = int(begin)
            last = int(end) if end else (greatest if step else first)
        if not least <= first <= last <= greatest:
            raise ValueError(f"{part!a} is not within {least}-{greatest}")
        found.update(range(first, last + 1, int(step or 1)))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a job is due.

    Attributes:
        times: Without the jitter.
        jitter: Up to so much later.
        catches_up: What was due while the bot was down is run once.
    """

    times: _Times
    jitter: timedelta
    catches_up: bool

    def after(
        self, moment: datetime, *, part: Callable[[], float] | None = None
    ) -> datetime:
        """Return when it is due next, jitter included.

        Args:
            moment: The last time, or now if there was none.
            part: Returns how much of the jitter, from 0 to 1; by chance by default.
        """
        share = (part or secrets.SystemRandom().random)()
        return self.times.after(moment) + self.jitter * share


def read_schedule(
    every: str | timedelta,
    cron: str,
    jitter: str | timedelta,
    misfire: Literal["skip", "run"],
) -> Schedule:
    """Return when a job is due; see ``Router.job``.

    Raises:
        ValueError: One of them cannot be read.
    """
    if bool(every) == bool(cron):
        raise ValueError("a job needs either every= or cron=")
    if misfire not in {"skip", "run"}:
        raise ValueError("misfire is either skip or run")
    jitter = read_duration(jitter) if isinstance(jitter, str) else jitter
    if cron:
        times: _Times = Cron.read(cron)
        times.after(datetime.now(UTC))  # a day that never comes is told here
        return Schedule(times, jitter, misfire == "run")
    pause = read_duration(every) if isinstance(every, str) else every
    if pause < _SHORTEST:
        raise ValueError("a job cannot be done more often than once a second")
    return Schedule(Every(pause), jitter, misfire == "run")
