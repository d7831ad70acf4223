"""An archive that never ends, lies, or is played by somebody else."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import TypeAlias

import pytest

from xmpp_onion.address import JID
from xmpp_onion.errors import FeatureMissingError, SessionError
from xmpp_onion.session import Archive, Archived, CatchUp, Page, Received, Session
from xmpp_onion.testing.hostile import HostileServer, Peer, make_onion_name
from xmpp_onion.testing.visit import visit

MAM = "urn:xmpp:mam:2"
STRANGER = f"mallory@{make_onion_name()}"
FORWARDED = "<forwarded xmlns='urn:xmpp:forward:0'>{}</forwarded>"
SINCE = datetime(2026, 1, 2, tzinfo=UTC)


class Asked:
    """One request for a page, and how to answer it."""

    def __init__(self, peer: Peer, text: str, number: int) -> None:
        self.peer, self.text, self.number = peer, text, number
        self.iq = re.findall(r"<iq[^>]* id=['\"]([^'\"]+)", text)[-1]
        self.query = re.findall(r"queryid=['\"]([^'\"]+)", text)[-1]
        found = re.search(r"<after>([^<]*)</after>", text)
        self.after = "" if found is None else found.group(1)

    def result(
        self,
        name: str,
        *,
        envelope: str | None = "own",
        query: str = "",
        sender: str = STRANGER,
        stamp: str = "2026-01-02T03:04:05Z",
        padding: str = "",
    ) -> str:
        own = str(self.peer.account)
        source = (
            ""
            if envelope is None
            else f"from='{own if envelope == 'own' else envelope}'"
        )
        return (
            f"<message {source}><result xmlns='{MAM}' queryid='{query or self.query}'"
            f" id='{name}'><forwarded xmlns='urn:xmpp:forward:0'>"
            f"<delay xmlns='urn:xmpp:delay' stamp='{stamp}'/>"
            f"<message xmlns='jabber:client' from='{sender}/x' to='{own}' type='chat'"
            f" id='{name}'><body>text of {name}{padding}</body></message>"
            "</forwarded></result></message>"
        )

    def fin(self, *, complete: bool = False, last: str = "") -> str:
        attribute = "complete='true'" if complete else ""
        return (
            f"<iq type='result' id='{self.iq}'><fin xmlns='{MAM}' {attribute}>"
            f"<set xmlns='http://jabber.org/protocol/rsm'><last>{last}</last></set>"
            "</fin></iq>"
        )

    def error(self, condition: str) -> str:
        return (
            f"<iq type='error' id='{self.iq}'><error type='cancel'><{condition} "
            "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        )


Answer: TypeAlias = Callable[[Asked], str]


def archive(answer: Answer) -> Callable[[Peer], Awaitable[None]]:
    async def script(peer: Peer) -> None:
        await peer.log_in()
        number = 0
        while True:
            text = await peer.read("</iq>")
            if MAM in text:
                number += 1
                await peer.send(answer(Asked(peer, text, number)))

    return script


@asynccontextmanager
async def asking(
    answer: Answer,
) -> AsyncIterator[tuple[HostileServer, Session]]:
    async with HostileServer(archive(answer)) as server, visit(server) as session:
        await session.wait_online(60)
        yield server, session


async def read_all(
    archive: Archive, last_id: str | None = "", since: datetime | None = None
) -> list[Page]:
    async with asyncio.timeout(60):
        catch_up = CatchUp(archive, last_id, since)
        async with aclosing(catch_up.pages()) as pages:
            return [page async for page in pages]


def names(pages: list[Page]) -> list[str]:
    return [entry.id for page in pages for entry in page.entries]


def honest(total: int, size: int = 4) -> Answer:
    """Return an archive of ``total`` messages, at most ``size`` of them a page."""

    def answer(asked: Asked) -> str:
        first = int(asked.after or 0) + 1
        page = range(first, min(first + size, total + 1))
        results = "".join(asked.result(str(number)) for number in page)
        return results + asked.fin(complete=page.stop > total)

    return answer


async def test_all_pages_come_once_and_in_order() -> None:
    async with asking(honest(10)) as (_, session):
        pages = await read_all(session.archive)

    assert names(pages) == [str(number) for number in range(1, 11)]
    assert [page.last_id for page in pages] == ["4", "8", "10"]
    assert [page.is_last for page in pages] == [False, False, True]


async def test_the_next_page_is_asked_for_before_this_one_is_handled() -> None:
    async with asking(honest(10)) as (server, session):
        pages = CatchUp(session.archive, "").pages()
        await anext(pages)
        await server.wait_heard("<after>4</after>")
        await pages.aclose()


async def test_a_page_that_never_moves_is_left_after_three() -> None:
    asked_for: list[int] = []

    def answer(asked: Asked) -> str:
        asked_for.append(asked.number)
        return asked.result("same") + asked.fin(last="same")

    async with asking(answer) as (_, session):
        with pytest.raises(SessionError, match="lead nowhere"):
            await read_all(session.archive)

    assert len(asked_for) == 4  # the one that moved, and three


async def test_empty_pages_without_an_end_are_left_after_three() -> None:
    async with asking(lambda asked: asked.fin(last=f"{asked.number}")) as (_, session):
        with pytest.raises(SessionError, match="lead nowhere"):
            await read_all(session.archive)


async def test_pages_in_a_circle_are_left() -> None:
    def answer(asked: Asked) -> str:
        return asked.result(f"{asked.number % 2}") + asked.fin()

    async with asking(answer) as (_, session):
        with pytest.raises(SessionError, match="lead nowhere"):
            await read_all(session.archive)


async def test_an_archive_without_end_is_left_at_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xmpp_onion.session.catch_up._MOST_MESSAGES", 50)
    async with asking(honest(10**9)) as (_, session):
        with pytest.raises(SessionError, match="lead nowhere"):
            await read_all(session.archive)


async def test_only_results_of_our_own_account_count() -> None:
    def answer(asked: Asked) -> str:
        own = str(asked.peer.account)
        return (
            asked.result("1", envelope=None)
            + asked.result("2", envelope="own")
            + asked.result("a", envelope=STRANGER)
            + asked.result("b", envelope=asked.peer.account.domain)
            + asked.result("c", envelope=f"{own}/elsewhere")
            + asked.result("d", envelope="")
            + asked.fin(complete=True)
        )

    async with asking(answer) as (_, session):
        assert names(await read_all(session.archive)) == ["1", "2"]


async def test_only_results_of_a_live_query_count() -> None:
    def answer(asked: Asked) -> str:
        return (
            asked.result("a", query="unknown")
            + asked.result("1")
            + asked.fin(complete=asked.number == 2)
            + asked.result("b")  # after its end
        )

    async with asking(answer) as (_, session):
        pages = await read_all(session.archive)
        await asyncio.sleep(0)

    assert names(pages) == ["1", "1"]  # known before it is decrypted
    assert session.archive._live == {}


async def test_a_result_that_nobody_asked_for_is_never_a_live_message() -> None:
    def answer(asked: Asked) -> str:
        late = asked.result("late", envelope=STRANGER)
        return late + "<message from='a@b' type='chat'><body>live</body></message>"

    async with (
        HostileServer(archive(answer)) as server,
        visit(server) as session,
        asyncio.timeout(60),
    ):
        await session.wait_online()
        CatchUp(session.archive, "")
        events = session.events()
        await anext(events)
        event = await anext(events)

    assert isinstance(event, Received)
    assert event.element.findtext("{jabber:client}body") == "live"


@pytest.mark.parametrize("condition", ["forbidden", "internal-server-error"])
async def test_an_error_is_an_error(condition: str) -> None:
    async with asking(lambda asked: asked.error(condition)) as (_, session):
        with pytest.raises(SessionError, match=condition):
            await read_all(session.archive)


async def test_a_server_without_an_archive_says_so() -> None:
    answer = "service-unavailable"
    async with asking(lambda asked: asked.error(answer)) as (_, session):
        with pytest.raises(FeatureMissingError, match="no archive"):
            await read_all(session.archive)


async def test_an_error_in_the_middle_leaves_what_came_before() -> None:
    def answer(asked: Asked) -> str:
        if asked.number == 3:
            return asked.error("internal-server-error")
        return honest(100)(asked)

    async with asking(answer) as (_, session):
        pages = CatchUp(session.archive, "").pages()
        seen = [await anext(pages), await anext(pages)]
        with pytest.raises(SessionError, match="internal-server-error"):
            await anext(pages)

    assert names(seen) == [str(number) for number in range(1, 9)]


async def test_an_answer_that_never_comes_is_given_up() -> None:
    async with asking(lambda asked: asked.result("1")) as (_, session):
        session.archive._patience = 0.2
        with pytest.raises(SessionError, match="no answer"):
            await read_all(session.archive)
        assert session.archive._live == {}


async def test_an_answer_without_an_end_of_page_is_an_error() -> None:
    async with asking(lambda asked: f"<iq type='result' id='{asked.iq}'/>") as (
        _,
        session,
    ):
        with pytest.raises(SessionError, match="not one"):
            await read_all(session.archive)


async def test_more_than_was_asked_for_waits_for_the_next_page() -> None:
    def answer(asked: Asked) -> str:
        first = int(asked.after or 0) + 1
        results = (asked.result(str(number)) for number in range(first, 601))
        return "".join(results) + asked.fin(complete=True, last="600")

    async with asking(answer) as (_, session):
        pages = await read_all(session.archive)

    assert names(pages) == [str(number) for number in range(1, 601)]
    assert [len(page.entries) for page in pages] == [250, 350]


def larges(server: HostileServer) -> list[int]:
    """Return how many messages each question asked for."""
    return [int(size) for size in re.findall(r"<max>(\d+)</max>", server.heard)]


def generous(total: int, padding: str = "") -> Answer:
    """Return an archive that gives as much as it is asked for."""

    def answer(asked: Asked) -> str:
        first = int(asked.after or 0) + 1
        (size,) = re.findall(r"<max>(\d+)</max>", asked.text)
        page = range(first, min(first + int(size), total + 1))
        results = (asked.result(str(number), padding=padding) for number in page)
        return "".join(results) + asked.fin(complete=page.stop > total)

    return answer


async def test_the_first_page_is_small_and_the_others_are_large() -> None:
    async with asking(generous(2_300)) as (server, session):
        pages = await read_all(session.archive)

    assert names(pages) == [str(number) for number in range(1, 2_301)]
    assert larges(server) == [250, 1000, 1000, 1000]
    assert [len(page.entries) for page in pages] == [250, 1000, 1000, 50]


async def test_no_page_is_asked_for_that_would_not_fit() -> None:
    async with asking(generous(400, "x" * 80_000)) as (server, session):
        pages = await read_all(session.archive)

    assert names(pages) == [str(number) for number in range(1, 401)]
    first, *later = [len(page.entries) for page in pages]
    assert 95 < first < 105  # of 250: what 8 MiB hold
    assert set(larges(server)[1:]) == {first}
    assert later[0] == first


async def test_no_page_is_asked_for_that_would_hold_others_up() -> None:
    async with asking(honest(4)) as (_, session):
        catch_up = CatchUp(session.archive, "")
        await anext(catch_up.pages())
        query = session.archive.ask()
        await session.archive.read(query)
        query.seconds = 0.5  # for four
        assert query.next_limit == 240
        query.seconds = 1e9
        assert query.next_limit == 1
        query.seconds = 0.0
        assert query.next_limit == 1000
        query.room = JID(f"room@{make_onion_name()}")
        assert query.next_limit == 250  # a message there is for many


async def test_what_came_of_a_page_counts_when_its_stream_is_over() -> None:
    """The server does not resume, as it keeps less than such a page unconfirmed."""
    total, logins = 700, 0

    async def script(peer: Peer) -> None:
        nonlocal logins
        logins += 1
        await peer.log_in()
        while True:
            text = await peer.read("</iq>")
            if MAM not in text:
                continue
            answer = generous(total)(Asked(peer, text, 1))
            if logins == 1 and "<after>250<" in text:
                await peer.send(answer[: answer.index("id='400'")])
                return peer.writer.transport.abort()
            await peer.send(answer)

    async with HostileServer(script) as server, visit(server) as session:
        found = await read_through(session)

    assert [entry.id for entry in found] == [str(n) for n in range(1, total + 1)]
    asked = re.findall(r"<after>(\d+)</after>", server.heard)
    assert asked[:2] == ["250", "399"]


async def test_a_giant_page_is_taken_in_pieces() -> None:
    padding = "x" * 500_000

    def answer(asked: Asked) -> str:
        first = int(asked.after or 0) + 1
        page = range(first, min(first + 40, 61))
        results = (asked.result(str(number), padding=padding) for number in page)
        return "".join(results) + asked.fin(complete=page.stop == 61)

    async with asking(answer) as (_, session):
        pages = await read_all(session.archive)

    assert names(pages) == [str(number) for number in range(1, 61)]
    assert max(len(page.entries) for page in pages) <= 16  # of 8 MiB


async def test_a_page_that_never_ends_takes_no_more_memory_than_a_page() -> None:
    async def script(peer: Peer) -> None:
        await peer.log_in()
        asked = Asked(peer, await peer.read("</iq>"), 1)
        number = 0
        while True:
            number += 1
            await peer.send(asked.result(str(number)))
            await asyncio.sleep(0)

    async with HostileServer(script) as server, visit(server) as session:
        await session.wait_online(60)
        session.archive._patience = 0.5
        catch_up = CatchUp(session.archive, "")
        with pytest.raises(SessionError, match="no answer"):
            await anext(catch_up.pages())
        assert len(catch_up._query.entries) == 250


async def test_a_forgotten_place_is_looked_for_by_time_and_the_gap_told() -> None:
    def answer(asked: Asked) -> str:
        if asked.after == "gone":
            return asked.error("item-not-found")
        return asked.result("7", stamp="2026-01-05T00:00:00Z") + asked.fin(
            complete=True
        )

    async with asking(answer) as (server, session):
        pages = await read_all(session.archive, "gone", SINCE)

    assert names(pages) == ["7"]
    assert pages[0].missing == (SINCE, datetime(2026, 1, 5, tzinfo=UTC))
    # A clock that is wrong by less than a day loses nothing.
    assert "<value>2026-01-01T00:00:00Z</value>" in server.heard


async def test_a_place_that_is_silently_unknown_is_forgotten_as_well() -> None:
    """Prosody 13 answers with an empty last page then."""

    def answer(asked: Asked) -> str:
        if asked.after:
            return asked.fin(complete=True)
        return asked.result("7", stamp="2026-01-05T00:00:00Z") + asked.fin(
            complete=True
        )

    async with asking(answer) as (_, session):
        (page,) = await read_all(session.archive, "gone", SINCE)
        (same,) = await read_all(session.archive, "7", SINCE)
        assert session.archive._live == {}

    assert names([page]) == ["7"]
    assert page.missing is not None
    assert (same.entries, same.last_id, same.missing) == ((), "7", None)


async def test_an_archive_that_forgot_everything_is_a_gap_once() -> None:
    def answer(asked: Asked) -> str:
        return (
            asked.error("item-not-found") if asked.after else asked.fin(complete=True)
        )

    async with asking(answer) as (_, session):
        (gone,) = await read_all(session.archive, "gone", SINCE)
        (then,) = await read_all(session.archive, gone.last_id, gone.at)

    assert gone.missing == (SINCE, gone.at)
    assert (then.missing, then.last_id) == (None, "")


async def test_an_archive_that_has_older_ones_has_no_gap() -> None:
    def answer(asked: Asked) -> str:
        if asked.after:
            return asked.error("item-not-found")
        return asked.result("7", stamp="2026-01-01T23:00:00Z") + asked.fin(
            complete=True
        )

    async with asking(answer) as (_, session):
        (page,) = await read_all(session.archive, "gone", SINCE)

    assert page.missing is None


async def test_a_place_that_is_forgotten_always_is_an_error() -> None:
    async with asking(lambda asked: asked.error("item-not-found")) as (_, session):
        with pytest.raises(SessionError, match="item-not-found"):
            await read_all(session.archive, "gone", SINCE)
        with pytest.raises(SessionError, match="item-not-found"):
            await read_all(session.archive, "gone")


async def test_the_first_look_takes_nothing_and_notes_where_the_end_is() -> None:
    def answer(asked: Asked) -> str:
        assert "<before" in asked.text
        assert "<max>1</max>" in asked.text
        return asked.result("99") + asked.fin()

    async with asking(answer) as (_, session):
        (page,) = await read_all(session.archive, None)

    assert (page.entries, page.last_id, page.is_last) == ((), "99", True)


async def test_an_empty_archive_has_an_empty_end() -> None:
    async with asking(lambda asked: asked.fin(complete=True)) as (_, session):
        (first,) = await read_all(session.archive, None)
        (then,) = await read_all(session.archive, first.last_id)

    assert (first.last_id, then.last_id, then.entries) == ("", "", ())


@pytest.mark.parametrize(
    "content",
    [
        "",
        FORWARDED.format(""),
        FORWARDED.format("<message xmlns='jabber:client'/>"),
        FORWARDED.format(
            "<message xmlns='jabber:client' from='@@/@'><body>x</body></message>"
        ),
        FORWARDED.format(
            "<delay xmlns='urn:xmpp:delay' stamp='0000-99-99'/>"
            "<presence xmlns='jabber:client'/>"
        ),
    ],
)
async def test_what_is_not_a_message_is_passed_and_the_rest_comes(content: str) -> None:
    def answer(asked: Asked) -> str:
        bad = (
            f"<message><result xmlns='{MAM}' queryid='{asked.query}' id='1'>{content}"
            "</result></message>"
        )
        return bad + asked.result("2") + asked.fin(complete=True)

    async with asking(answer) as (_, session):
        (page,) = await read_all(session.archive)

    assert [entry.incoming is None for entry in page.entries] == [True, False]


@pytest.mark.parametrize(
    "stamp",
    ["1901-01-01T00:00:00Z", "2400-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "x"],
)
async def test_no_stamp_breaks_the_way_or_lies_in_the_future(stamp: str) -> None:
    def answer(asked: Asked) -> str:
        if asked.number == 1:
            return asked.result("1", stamp=stamp) + asked.fin()
        if asked.number == 2:
            return asked.error("item-not-found")  # so the stamp is gone back to
        return asked.result("2") + asked.fin(complete=True)

    async with asking(answer) as (_, session):
        pages = await read_all(session.archive)

    assert names(pages) == ["1", "2"]
    assert all(page.at <= datetime.now(UTC) for page in pages)


async def test_what_we_sent_ourselves_is_passed() -> None:
    def answer(asked: Asked) -> str:
        own = str(asked.peer.account)
        return (
            asked.result("1", sender=own)
            + asked.result("2", sender=STRANGER)
            + asked.fin(complete=True)
        )

    async with asking(answer) as (_, session):
        (page,) = await read_all(session.archive)

    mine, theirs = page.entries
    assert mine.incoming is None
    assert theirs.incoming is not None
    assert theirs.incoming.sender.bare == STRANGER


async def test_a_result_without_a_name_or_with_a_long_one_is_no_place() -> None:
    def answer(asked: Asked) -> str:
        return (
            asked.result("")
            + asked.result("x" * 2000)
            + asked.result("1")
            + asked.result("1")
            + asked.fin(complete=True)
        )

    async with asking(answer) as (_, session):
        assert names(await read_all(session.archive)) == ["1"]


async def test_a_request_without_a_session_is_an_error() -> None:
    async with HostileServer(archive(honest(1))) as server:
        session = Session(server.jid, "", tor=None)  # type: ignore[arg-type] # never entered
        with pytest.raises(SessionError, match="session is down"):
            CatchUp(session.archive, "")


# Beyond what our reader takes; the last two no honest server would send.
POISON = [
    "<a>" * 3000 + "</a>" * 3000,
    "<a/>" * 30_000,
    f"<a b='{'x' * 100_000}'/>",
    "<!-- x -->",
    "<a></b>",
]


def poisoned(total: int, places: dict[int, str], size: int = 100) -> Answer:
    """Return an archive with poison at some places."""

    def answer(asked: Asked) -> str:
        if "before" in asked.text:
            return asked.result(str(total)) + asked.fin()
        first = int(asked.after or 0) + 1
        page = range(first, min(first + size, total + 1))
        results = "".join(
            asked.result(str(number)).replace("</body>", f"</body>{places[number]}")
            if number in places
            else asked.result(str(number))
            for number in page
        )
        return results + asked.fin(complete=page.stop > total)

    return answer


async def read_through(session: Session) -> list[Archived]:
    """Read an archive to its end, over as many connections as it takes."""
    found: list[Archived] = []
    async with asyncio.timeout(30):
        while True:
            await session.wait_online()
            last_id = found[-1].id if found else ""
            try:
                async with aclosing(CatchUp(session.archive, last_id).pages()) as pages:
                    async for page in pages:
                        found += page.entries
            except SessionError:
                await asyncio.sleep(0.01)
            else:
                return found


async def test_995_of_1000_come_and_5_are_told_whatever_they_break() -> None:
    places = dict(zip((1, 150, 151, 600, 1000), POISON, strict=True))
    async with (
        HostileServer(archive(poisoned(1000, places))) as server,
        visit(server) as session,
    ):
        reading = asyncio.ensure_future(read_through(session))  # noqa: TID251 - awaited below
        async with aclosing(session.events()) as events:
            drain = asyncio.ensure_future(anext(events))  # noqa: TID251 - cancelled below
            found = await reading
            drain.cancel()

    assert [entry.id for entry in found] == [str(n) for n in range(1, 1001)]
    told = {
        int(entry.id): entry.incoming
        for entry in found
        if entry.incoming is not None and entry.incoming.excess
    }
    assert set(told) == set(places)
    assert {incoming.sender.bare for incoming in told.values()} == {STRANGER}
    # Only what cannot be read on from ends a stream, and that twice.
    assert len(server.peers) == 1 + 2 * 2


async def test_what_was_read_before_the_stream_was_ended_counts() -> None:
    async with (
        HostileServer(archive(poisoned(10, {8: "<!-- x -->"}))) as server,
        visit(server) as session,
    ):
        await session.wait_online(60)
        page = await anext(CatchUp(session.archive, "").pages())

    assert [entry.id for entry in page.entries] == [str(n) for n in range(1, 8)]
    assert not page.is_last


async def test_nobody_else_passes_a_message_over_by_breaking_the_stream() -> None:
    tries = 0

    def answer(asked: Asked) -> str:
        nonlocal tries
        tries += 1
        broken = asked.result("1").replace("</body>", "</body><!-- x -->")
        foreign = broken.replace(f"from='{asked.peer.account}'", f"from='{STRANGER}'")
        return foreign if tries < 4 else honest(2)(asked)

    async with HostileServer(archive(answer)) as server, visit(server) as session:
        found = await read_through(session)

    assert [entry.id for entry in found] == ["1", "2"]
    assert not any(entry.incoming and entry.incoming.excess for entry in found)
