"""How far what we said in a talk has come, shown on its line while that is there."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from xmpp_onion.address import JID
from xmpp_onion.chat import DeliveryState, Receipt
from xmpp_onion.cli.chat_marks import Paper, head_of, mark_of
from xmpp_onion.cli.chat_numbers import Numbered, Numbers
from xmpp_onion.cli.output import visible
from xmpp_onion.errors import DeliveryFailedError

if TYPE_CHECKING:
    from xmpp_onion.client import Client

__all__ = ["States"]

# Letters of a text that tell a person which one is meant.
_BEGIN: Final = 24
# Lines that are named where several have come further.
_NAMED: Final = 4
# Seconds in which changes of lines that are scrolled away become one line.
_GATHER: Final = 0.5


class States:
    """Marks lines of ours as they come further.

    Args:
        client: Whose.
        numbers: The lines.
        paper: Where they stand.
        changed: Called when one has come further.
    """

    def __init__(
        self,
        client: "Client",
        numbers: Numbers,
        paper: Paper,
        changed: Callable[[], None],
    ) -> None:
        self._client = client
        self._numbers = numbers
        self._paper = paper
        self._changed = changed
        self._late: dict[int, Numbered] = {}
        self._gathering: asyncio.TimerHandle | None = None

    def confirm(self, event: Receipt) -> None:
        """Mark what a recipient says to have, or to have been shown."""
        one = self._numbers.ours(event.id)
        if event.room is not None:
            if one is not None:
                self._show_to(event.sender.bare, one)
            return
        self.come(one, event.state, is_sure=event.authenticated)
        if one is not None and event.state is DeliveryState.DISPLAYED:
            self._show_before(one, is_sure=event.authenticated)

    def fail(self, message_id: str) -> None:
        """Mark what will not arrive."""
        self.come(self._numbers.ours(message_id), DeliveryState.FAILED)

    async def follow(self, one: Numbered) -> None:
        """Mark a line when the server has it."""
        with suppress(KeyError, DeliveryFailedError):  # an event tells of that
            delivery = await self._client.wait(
                one.id, DeliveryState.ACKED, timeout=None
            )
            self.come(one, delivery.state)

    def come(
        self, one: Numbered | None, state: DeliveryState, *, is_sure: bool = True
    ) -> None:
        """Mark a line of ours that has come further."""
        if one is None or one.state is None:
            return
        is_proof = one.state is state and is_sure and not one.is_sure
        if not one.state.may_become(state) and not is_proof:
            return
        one.state, one.is_sure = state, is_sure
        self._paper.mark(one.number, head_of(one), lambda: self._be_late(one))
        self._changed()

    def end(self) -> None:
        """Show what was not shown yet."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._tell_late()

    def _show_before(self, newest: Numbered, *, is_sure: bool) -> None:
        """Mark what was shown before: one word stands for all (XEP-0333)."""
        for one in self._numbers:
            is_before = one.where == newest.where and one.number < newest.number
            if is_before and one.state in {
                DeliveryState.ACKED,
                DeliveryState.RECEIVED,
            }:
                self.come(one, DeliveryState.DISPLAYED, is_sure=is_sure)

    def _show_to(self, member: JID, newest: Numbered) -> None:
        """Mark what all of a room were shown: one, and what we said there before."""
        state = self._client.rooms.state(newest.where)
        members = frozenset[JID]() if state is None else frozenset(state.members)
        others = members - {self._client.jid.bare}
        for one in self._numbers:
            if one.where != newest.where or one.number > newest.number:
                continue
            one.shown_to.add(member)
            if others and one.shown_to >= others:
                self.come(one, DeliveryState.DISPLAYED)

    def _be_late(self, one: Numbered) -> None:
        self._late[one.number] = one
        if self._gathering is None:
            loop = asyncio.get_running_loop()
            self._gathering = loop.call_later(_GATHER, self._tell_late)

    def _tell_late(self) -> None:
        """Tell in lines of their own what cannot be marked any more."""
        self._gathering = None
        by_mark: dict[str, list[Numbered]] = {}
        for one in self._late.values():
            by_mark.setdefault(f"{mark_of(one)} {one.state}", []).append(one)
        self._late = {}
        for mark, ones in by_mark.items():
            more = len(ones) - _NAMED
            before = f"{more} before, " if more > 0 else ""
            named = ", ".join(_named(one) for one in ones[-_NAMED:])
            self._paper.show(f"{mark}: {before}{named}")


def _named(one: Numbered) -> str:
    end = "…" if len(one.text) > _BEGIN else ""
    return f"#{one.number} {visible(one.text[:_BEGIN])}{end}"
