"""What is known of the servers' device lists and bundles, and for how long.

Everything that one send needs is fetched in two flights: all lists, then all
bundles. What is watched is not fetched again, what is missing is not asked for
again soon, and no contact can make us fetch without end.
"""

import asyncio
import itertools
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Coroutine
from typing import NamedTuple
from weakref import WeakValueDictionary

from omemo import DeviceList, SignedLabel

from xmpp_onion.address import JID
from xmpp_onion.e2ee.devices import Bundle, Pep
from xmpp_onion.e2ee.published import MAX_PRE_KEYS
from xmpp_onion.e2ee.shelf import Shelf
from xmpp_onion.e2ee.versions import NAMESPACES
from xmpp_onion.errors import DeviceListError

__all__ = ["MAX_DEVICES", "Directory", "Place", "together"]

log = logging.getLogger(__name__)

MAX_DEVICES = 32
"""Of one JID: each costs a bundle to fetch and a key in every message."""

# Entries of a list that are kept in memory. Nobody has as many devices.
_MAX_LISTED = 1000
# The same of a stranger: four times what is written to.
_MAX_LISTED_OF_STRANGER = 128
# What is kept of strangers in all, in entries of device lists: 12 MB if each has a
# signed label, of those with three devices 4,000.
_ROOM = 32 * 1024
# What a bundle of 100 pre-keys weighs in entries.
_BUNDLE_WEIGHT = 32
# Places of one JID that a bundle was had from, or was missing at: four lists of 32
# devices with two versions each. Contacts may change their lists for ever, too.
_MAX_PLACES = 256
# JIDs whose fetched bundles are counted: an hour of what strangers may have fetched
# is a tenth of it. 40 times each take 1.5 KB.
_COUNTED = 5000
# XEP-0384, section 5.3.1: from 1 to 2**31 - 1.
_MAX_DEVICE_ID = 2**31 - 1
# Requests at once: enough for a room of a hundred, with two lists or two devices each,
# in one flight. They share one stream, and a server limits its rate: 64 kB are this.
_REQUESTS_AT_ONCE = 256
# Bundles of one JID in an hour, whatever its device list says.
_BUNDLES_PER_HOUR = 40
_HOUR = 3600.0
# Seconds until a bundle is asked for again: it doubles up to an hour. A server
# that did not answer is likely to be back soon; a bundle that is missing is not.
_WAIT_MISSING = 300.0
# The same where a message came that cannot be read without it. Whoever adds a device
# may publish its list before its bundle, and write at once.
_WAIT_NEEDED = 60.0
# The same for a list of one version, where there is one of the other: who logs in for
# the first time publishes one after the other.
_WAIT_LIST = 60.0
# XEP-0384 0.9, section 5.3.1 recommends 53 characters at most.
_MAX_LABEL = 100


class Place(NamedTuple):
    """Where a bundle is: a device, and the OMEMO version that the bundle is for."""

    namespace: str
    jid: str
    device_id: int


class _Absence(NamedTuple):
    until: float
    wait: float


class Directory:
    """The device lists and bundles of our own account and of contacts.

    Only memory: it starts empty with each process, and device lists are fetched
    again after a session that was not resumed (:meth:`expire`).

    Attributes:
        lists: Devices with their labels as published, by namespace and JID;
            checked for range; the order of the list.
        hidden: The JIDs that show a device list to contacts only.
        bundles: Fetched and not yet used.

    Args:
        pep: The way to the servers.
        is_contact: Tells who is on our contact list, or is ourselves: what is known
            of them stays. Strangers push out each other, the longest unused first.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        pep: Pep,
        *,
        is_contact: Callable[[str], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lists: dict[tuple[str, str], DeviceList] = {}
        self.hidden: set[str] = set()
        self.bundles: dict[tuple[str, str, int], Bundle] = {}
        self._pep = pep
        self._clock = clock
        self._watched: set[tuple[str, str]] = set()
        self._asked: dict[tuple[str, str], _Absence] = {}
        self._absent: dict[Place, _Absence] = {}
        self._fetched: OrderedDict[str, deque[float]] = OrderedDict()
        self._places: dict[str, dict[Place, None]] = {}
        self._is_contact = is_contact
        self._shelf = Shelf(_ROOM, is_contact)
        self._slots = asyncio.Semaphore(_REQUESTS_AT_ONCE)
        self._locks: WeakValueDictionary[object, asyncio.Lock] = WeakValueDictionary()
        self._order = itertools.count()
        self._started: dict[tuple[str, str], int] = {}
        pep.watch(self._on_change)

    def expire(self) -> None:
        """Take every list for old: changes may have been missed."""
        self._watched.clear()
        self._asked.clear()

    def is_known(self, jid: str) -> bool:
        """Tell whether all device lists of a JID could be fetched."""
        return all((namespace, jid) in self.lists for namespace in NAMESPACES)

    def ids(self, jid: str) -> tuple[int, ...]:
        """Return all listed devices of a JID; those with the newest version first."""
        lists = (self.lists.get((namespace, jid), {}) for namespace in NAMESPACES)
        return tuple(dict.fromkeys(itertools.chain.from_iterable(lists)))

    def places(self, jid: str, device_id: int) -> list[Place]:
        """Return where a device has published a bundle; the newest version first."""
        return [
            Place(namespace, jid, device_id)
            for namespace in NAMESPACES
            if device_id in self.lists.get((namespace, jid), {})
        ]

    def keep(self, namespace: str, jid: JID, devices: DeviceList) -> None:
        """Take a device list for what is published now."""
        limit = _MAX_LISTED if self._is_contact(jid) else _MAX_LISTED_OF_STRANGER
        if len(devices) > limit:  # what we may have sessions with comes first
            before = self.lists.get((namespace, jid), {})
            devices = {i: devices[i] for i in before if i in devices} | devices
        self.lists[namespace, jid] = _checked(devices, limit)
        self._use(jid)

    def _on_change(self, namespace: str, jid: JID, devices: DeviceList) -> None:
        """Take a pushed list, if we asked for that JID's before."""
        if (namespace, jid.bare) in self.lists:
            self.keep(namespace, jid.bare, devices)

    async def fetch_lists(
        self, jids: Collection[JID], *, anew: bool = False, is_crowd: bool = False
    ) -> dict[str, DeviceListError]:
        """Fetch the lists that are not watched, in one flight.

        Whoever has a list of one version only is asked about the other after a
        minute, and at last once an hour: what is not there cannot be watched.

        Args:
            jids: Whose.
            anew: Fetch what is watched too: a push may have been lost.
            is_crowd: Who has no list at all is asked once a minute, not each time:
                there are others to write to.

        Returns:
            The JIDs whose lists could not be fetched, with the reason.
        """
        wanted = [(namespace, jid) for jid in jids for namespace in NAMESPACES]
        for jid in jids:
            self._use(jid.bare)
        if anew:
            self._watched.difference_update(wanted)
            for one in wanted:
                self._asked.pop(one, None)
        arrival = next(self._order)
        failures: dict[str, DeviceListError] = {}

        async def fetch(namespace: str, jid: JID) -> None:
            try:
                await self._fetch_list(namespace, jid.bare, arrival)
            except DeviceListError as error:
                failures[jid.bare] = error

        stale = [one for one in wanted if not self._is_fresh(*one, is_crowd=is_crowd)]
        await together(*(fetch(*one) for one in stale))
        return failures

    def is_fresh(self, jids: Collection[JID], *, is_crowd: bool = False) -> bool:
        """Tell whether :meth:`fetch_lists` would ask nobody."""
        for jid in jids:
            self._use(jid.bare)
        return all(
            self._is_fresh(namespace, jid, is_crowd=is_crowd)
            for jid in jids
            for namespace in NAMESPACES
        )

    def _is_fresh(self, namespace: str, jid: str, *, is_crowd: bool) -> bool:
        """Tell whether a list need not be fetched now."""
        key = (namespace, jid)
        if key in self._watched:
            return True
        asked = self._asked.get(key)
        if self.lists.get(key) or asked is None:
            return False
        if self.ids(jid):
            return self._clock() < asked.until
        return is_crowd and self._clock() < asked.until - asked.wait + _WAIT_LIST

    async def _fetch_list(self, namespace: str, jid: JID, arrival: int) -> None:
        key = (namespace, str(jid))
        async with self._lock(key):
            # Whoever waited here takes a list that was asked for after he came.
            if key in self._watched or self._started.get(key, -1) > arrival:
                return
            started = next(self._order)
            async with self._slots:
                found = await self._pep.fetch_device_list(namespace, jid)
            self._started[key] = started
            before = self._asked.get(key)
            wait = _WAIT_LIST if before is None else min(before.wait * 2, _HOUR)
            self._asked[key] = _Absence(self._clock() + wait, wait)
            if found.is_watched:
                self._watched.add(key)
            if found.is_hidden:
                self.hidden.add(jid)
            else:
                self.hidden.discard(jid)
            self.keep(namespace, jid, found.devices)

    async def fetch_bundles(
        self, places: Collection[Place], *, is_needed: bool = False
    ) -> None:
        """Fetch the bundles that are not here, in one flight.

        What is missing or broken is left out of :attr:`bundles` and not asked for
        again for a while.

        Args:
            places: Where they are.
            is_needed: A message cannot be read without them: a minute is enough.

        Raises:
            DeviceListError: A server did not answer for at least one of them;
                the others were fetched.
        """
        await together(
            *(self._fetch_bundle(place, is_needed=is_needed) for place in places)
        )

    async def _fetch_bundle(self, place: Place, *, is_needed: bool) -> None:
        async with self._lock(place):
            if self.has_usable(place):
                return
            if self._is_left_alone(place, is_needed=is_needed):
                return
            if not self._may_fetch(place):
                return
            async with self._slots:
                # No answer is no absence: a message waits for this bundle.
                bundle = await self._pep.fetch_bundle(
                    place.namespace, JID(place.jid), place.device_id
                )
            if bundle is not None and _is_sane(bundle):
                self.bundles[place] = bundle
                self._absent.pop(place, None)
                self._note(place)
            else:
                self.mark_absent(place)

    async def fetch_anew(self, jid: JID) -> None:
        """Fetch the newest bundle of each device again, whatever is known of them.

        What is broken or missing is asked for, too; the limit of an hour holds.

        Raises:
            DeviceListError: The server did not answer for at least one of them.
        """
        for place in [*self._places.get(jid, {})]:
            self._drop(place)
        newest = [self.places(jid, number)[:1] for number in self.ids(jid)]
        await self.fetch_bundles([*itertools.chain(*newest)][:MAX_DEVICES])

    def ask_again(self, jid: str) -> None:
        """Take nothing of a JID for missing: what was refused may be welcome now."""
        for place in [*self._places.get(jid, {})]:
            if place in self._absent:
                self._drop(place)

    def has_usable(self, place: Place) -> bool:
        """Tell whether a bundle is here that was not refused."""
        return place in self.bundles and place not in self._absent

    def mark_refused(self, place: Place) -> None:
        """Fetch a bundle again in a while: its key must not be used as it is.

        Until then it stays, to say why.
        """
        if not self.is_absent(place):
            bundle = self.bundles.get(place)
            self.mark_absent(place)
            if bundle is not None:
                self.bundles[place] = bundle

    def is_absent(self, place: Place) -> bool:
        """Tell whether a bundle is known to be missing, and not asked for yet."""
        absence = self._absent.get(place)
        return absence is not None and self._clock() < absence.until

    def _is_left_alone(self, place: Place, *, is_needed: bool) -> bool:
        """Tell whether a bundle was missing when it was asked for a moment ago."""
        absence = self._absent.get(place)
        if absence is None:
            return False
        is_refused = place in self.bundles
        if not is_needed or is_refused:
            return self.is_absent(place)
        return self._clock() < absence.until - absence.wait + _WAIT_NEEDED

    def _may_fetch(self, place: Place) -> bool:
        now, times = self._clock(), self._fetched.setdefault(place.jid, deque())
        self._fetched.move_to_end(place.jid)
        if len(self._fetched) > _COUNTED:
            self._fetched.popitem(last=False)
        while times and now - times[0] > _HOUR:
            times.popleft()
        if len(times) >= _BUNDLES_PER_HOUR:
            log.warning("%s changes devices too often", JID(place.jid).short)
            return False
        times.append(now)
        return True

    def mark_absent(self, place: Place, wait: float = _WAIT_MISSING) -> None:
        """Do not ask for a bundle for ``wait`` seconds, longer each time."""
        before = self._absent.get(place)
        if before is not None:
            wait = min(max(wait, before.wait * 2), _HOUR)
        self._absent[place] = _Absence(self._clock() + wait, wait)
        self.bundles.pop(place, None)
        self._note(place)

    # --- what there is room for ---------------------------------------------------

    def _note(self, place: Place) -> None:
        """Note that something is known of a place; forget the oldest of many."""
        places = self._places.setdefault(place.jid, {})
        places.pop(place, None)
        places[place] = None
        if len(places) > _MAX_PLACES:
            self._drop(next(iter(places)))
        self._use(place.jid)

    def _drop(self, place: Place) -> None:
        self.bundles.pop(place, None)
        self._absent.pop(place, None)
        del self._places[place.jid][place]

    def _use(self, jid: str) -> None:
        """Note that a JID is in use now, and forget those who were not for longest."""
        places = self._places.get(jid, {})
        weight = 1 + _BUNDLE_WEIGHT * sum(place in self.bundles for place in places)
        weight += sum(place in self._absent for place in places)
        weight += sum(len(self.lists.get((each, jid), ())) for each in NAMESPACES)
        for name in self._shelf.put(jid, weight):
            self._forget(name)

    def _forget(self, jid: str) -> None:
        for place in [*self._places.get(jid, {})]:
            self._drop(place)
        self._places.pop(jid, None)
        self.hidden.discard(jid)
        for namespace in NAMESPACES:
            key = (namespace, jid)
            self._watched.discard(key)
            for known in (self.lists, self._asked, self._started):
                known.pop(key, None)

    def _lock(self, key: object) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())


def _checked(devices: DeviceList, limit: int) -> DeviceList:
    """Drop what is no device id, what nobody reads, and labels that are too long."""
    sane = ((i, label) for i, label in devices.items() if 0 < i <= _MAX_DEVICE_ID)
    return {i: _short(label) for i, label in itertools.islice(sane, limit)}


def _short(label: SignedLabel | None) -> SignedLabel | None:
    return label if label and len(label.label) <= _MAX_LABEL else None


def _is_sane(bundle: Bundle) -> bool:
    pre_keys: Collection[bytes] = getattr(bundle, "pre_key_ids", ())
    return 0 < len(pre_keys) <= MAX_PRE_KEYS


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
