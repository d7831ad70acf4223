"""What is known of the servers' device lists and bundles, and for how long.

Everything that one send needs is fetched in two flights: all lists, then all
bundles. What is watched is not fetched again, what is missing is not asked for
again soon, and no contact can make us fetch without end.
"""

import asyncio
import itertools
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import NamedTuple
from weakref import WeakValueDictionary

from xmpp_onion.address import JID
from xmpp_onion.e2ee.devices import Bundle, Pep
from xmpp_onion.errors import DeviceListError

__all__ = ["MAX_DEVICES", "Directory", "together"]

log = logging.getLogger(__name__)

MAX_DEVICES = 32
"""Of one JID: each costs a bundle to fetch and a key in every message."""

# XEP-0384, section 5.3.1: from 1 to 2**31 - 1.
_MAX_DEVICE_ID = 2**31 - 1
# Requests at once: they share one stream, and a server limits its rate.
_REQUESTS_AT_ONCE = 16
# Bundles of one JID in an hour, whatever its device list says.
_BUNDLES_PER_HOUR = 40
_HOUR = 3600.0
# libsignal publishes 100. A list without end would only cost us time.
_MAX_PRE_KEYS = 500
# Seconds until a bundle is asked for again: it doubles up to an hour. A server
# that did not answer is likely to be back soon; a bundle that is missing is not.
_WAIT_MISSING = 300.0

_Key = tuple[str, int]


class _Absence(NamedTuple):
    until: float
    wait: float


class Directory:
    """The device lists and bundles of our own account and of contacts.

    Only memory: it starts empty with each process, and device lists are fetched
    again after a session that was not resumed (:meth:`expire`).

    Attributes:
        lists: Device ids as published, checked for range; the order of the list.
        bundles: Fetched and not yet used.
    """

    def __init__(
        self, pep: Pep, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.lists: dict[str, tuple[int, ...]] = {}
        self.bundles: dict[_Key, Bundle] = {}
        self._pep = pep
        self._clock = clock
        self._watched: set[str] = set()
        self._absent: dict[_Key, _Absence] = {}
        self._fetched: defaultdict[str, deque[float]] = defaultdict(deque)
        self._slots = asyncio.Semaphore(_REQUESTS_AT_ONCE)
        self._locks: WeakValueDictionary[object, asyncio.Lock] = WeakValueDictionary()
        self._order = itertools.count()
        self._started: dict[str, int] = {}
        pep.watch(self._on_change)

    def expire(self) -> None:
        """Take every list for old: changes may have been missed."""
        self._watched.clear()

    def is_watched(self, jid: JID) -> bool:
        """Tell whether the server tells us about changes of this list."""
        return jid.bare in self._watched

    def _on_change(self, jid: JID, ids: tuple[int, ...]) -> None:
        """Take a pushed list, if we asked for that JID's before."""
        if jid.bare in self.lists:
            self.lists[jid.bare] = _checked(ids)

    async def fetch_lists(
        self, jids: Collection[JID], *, anew: bool = False
    ) -> dict[str, DeviceListError]:
        """Fetch the lists that are not watched, in one flight.

        Args:
            jids: Whose.
            anew: Fetch what is watched too: a push may have been lost.

        Returns:
            The JIDs whose lists could not be fetched, with the reason.
        """
        if anew:
            self._watched.difference_update(jids)
        arrival = next(self._order)
        failures: dict[str, DeviceListError] = {}

        async def fetch(jid: JID) -> None:
            try:
                await self._fetch_list(jid.bare, arrival)
            except DeviceListError as error:
                failures[jid.bare] = error

        await together(*(fetch(jid) for jid in jids if not self.is_watched(jid)))
        return failures

    async def _fetch_list(self, jid: JID, arrival: int) -> None:
        async with self._lock(jid):
            # Whoever waited here takes a list that was asked for after he came.
            if jid in self._watched or self._started.get(jid, -1) > arrival:
                return
            started = next(self._order)
            async with self._slots:
                found = await self._pep.fetch_device_list(jid)
            self.lists[jid] = _checked(found.ids)
            self._started[jid] = started
            if found.is_watched:
                self._watched.add(jid)

    async def fetch_bundles(self, devices: Collection[_Key]) -> None:
        """Fetch the bundles that are not here, in one flight.

        What is missing or broken is left out of :attr:`bundles` and not asked for
        again for a while.

        Raises:
            DeviceListError: A server did not answer for at least one of them;
                the others were fetched.
        """
        await together(*(self._fetch_bundle(*device) for device in devices))

    async def _fetch_bundle(self, jid: str, device_id: int) -> None:
        key = (jid, device_id)
        async with self._lock(key):
            if key in self.bundles or not self._may_fetch(key):
                return
            async with self._slots:
                # No answer is no absence: a message waits for this bundle.
                bundle = await self._pep.fetch_bundle(JID(jid), device_id)
            if bundle is not None and _is_sane(bundle):
                self.bundles[key] = bundle
                self._absent.pop(key, None)
            else:
                self.mark_absent(key)

    def _may_fetch(self, key: _Key) -> bool:
        now = self._clock()
        absence = self._absent.get(key)
        if absence is not None and now < absence.until:
            return False
        times = self._fetched[key[0]]
        while times and now - times[0] > _HOUR:
            times.popleft()
        if len(times) >= _BUNDLES_PER_HOUR:
            log.warning("%s changes devices too often", JID(key[0]).short)
            return False
        times.append(now)
        return True

    def mark_absent(self, key: _Key, wait: float = _WAIT_MISSING) -> None:
        """Do not ask for a bundle for ``wait`` seconds, longer each time."""
        before = self._absent.get(key)
        if before is not None:
            wait = min(max(wait, before.wait * 2), _HOUR)
        self._absent[key] = _Absence(self._clock() + wait, wait)
        self.bundles.pop(key, None)

    def _lock(self, key: object) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())


def _checked(ids: Iterable[int]) -> tuple[int, ...]:
    """Drop what is no device id, and repetitions."""
    return tuple(dict.fromkeys(i for i in ids if 0 < i <= _MAX_DEVICE_ID))


def _is_sane(bundle: Bundle) -> bool:
    pre_keys: Collection[bytes] = getattr(bundle, "pre_key_ids", ())
    return 0 < len(pre_keys) <= _MAX_PRE_KEYS


async def together(*work: Coroutine[object, object, None]) -> None:
    """Run requests in one flight, begun in order.

    Raises:
        DeviceListError: The first that failed, when all have ended.
    """
    failures: list[DeviceListError] = []

    async def run(one: Coroutine[object, object, None]) -> None:
        try:
            await one
        except DeviceListError as error:
            failures.append(error)

    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(run(one))
    if failures:
        raise failures[0]
