"""All the runs by name, in the order of their numbers."""

from bot_runs import BOT_RUNS
from flood_runs import FLOOD_RUNS
from room_runs import ROOM_RUNS
from runs import RUNS as NETWORK_RUNS
from store_runs import STORE_RUNS

_ALL = {**NETWORK_RUNS, **STORE_RUNS, **ROOM_RUNS, **FLOOD_RUNS, **BOT_RUNS}


def _number(name: str) -> int:
    return int("".join(letter for letter in name if letter.isdigit()))


RUNS = {name: _ALL[name] for name in sorted(_ALL, key=_number)}
