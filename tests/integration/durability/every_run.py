"""All the runs by name, in the order of their numbers."""

from runs import RUNS as NETWORK_RUNS
from store_runs import STORE_RUNS

_BOTH = {**NETWORK_RUNS, **STORE_RUNS}


def _number(name: str) -> int:
    return int("".join(letter for letter in name if letter.isdigit()))


RUNS = {name: _BOTH[name] for name in sorted(_BOTH, key=_number)}
