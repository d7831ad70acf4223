"""Conversations: in which state somebody is, kept on disk, and questions.

A state is one person's in one place: what Bob is asked in a room is not what Alice
is asked there, nor Bob himself alone.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from xmpp_onion.bot.memory import Memory

__all__ = ["FSM", "State", "StatesGroup"]

_PREFIX: Final = "fsm:"


class State:
    """One state; an attribute of a :class:`StatesGroup`, which names it."""

    def __init__(self) -> None:
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = f"{owner.__name__}.{name}"

    def __repr__(self) -> str:
        return f"<State {self.name}>"


class StatesGroup:
    """The states of one conversation.

    ::

        class Order(StatesGroup):
            item = State()
            count = State()
    """

    def __init_subclass__(cls) -> None:
        if not list(cls.states()):
            raise TypeError(f"{cls.__name__} has no states")

    @classmethod
    def states(cls) -> Iterator[State]:
        """Yield its states, in their order."""
        yield from (each for each in vars(cls).values() if isinstance(each, State))


class FSM:
    """The conversation with one person in one place.

    Args:
        memory: Where it is kept.
        key: Whose it is.
    """

    def __init__(self, memory: Memory, key: str) -> None:
        self._memory = memory
        self._key = _PREFIX + key

    async def state(self) -> str:
        """Return the name of the state, such as ``Order.item``; empty for none."""
        kept = await self._load()
        name = kept.get("state", "")
        return name if isinstance(name, str) else ""

    async def set(self, state: State) -> None:
        """Go to a state."""
        await self._save({**await self._load(), "state": state.name})

    async def data(self) -> dict[str, object]:
        """Return what was said so far."""
        data = (await self._load()).get("data", {})
        return dict(data) if isinstance(data, dict) else {}

    async def update(self, **values: object) -> dict[str, object]:
        """Add to what was said so far, and return all of it. Values are JSON."""
        data = {**await self.data(), **values}
        await self._save({**await self._load(), "data": data})
        return data

    async def clear(self) -> None:
        """End the conversation and forget what was said."""
        await self._memory.delete(self._key)

    async def _load(self) -> Mapping[str, object]:
        kept = await self._memory.get(self._key)
        return kept if isinstance(kept, dict) else {}

    async def _save(self, kept: Mapping[str, object]) -> None:
        await self._memory.set(self._key, json.loads(json.dumps(kept)))
