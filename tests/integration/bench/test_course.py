"""How often each waits for the server: counts, exact, on a real one.

They are what a change of the client must not make worse. A second of round trip is
well above what a program thinks, even on a busy machine, so they repeat.
"""

from pathlib import Path

import pytest

from xmpp_onion.bench.contestants import find_contestants
from xmpp_onion.bench.course import Course
from xmpp_onion.bench.stage import Stage
from xmpp_onion.testing.prosody_modules import find_modules

pytestmark = [pytest.mark.prosody, pytest.mark.alone]

RTT = 1.0
# With what Debian's prosody-modules make of a login, and without.
OURS = {
    "first-login": 4 if find_modules() else 5,
    "login": 1 if find_modules() else 3,
    "first-message": 3,
    "later-message": 1,
    "strangers": 3,
    "backlog": 1 if find_modules() else 3,
}
FLOOR = {
    "first-login": 3,
    "login": 1,
    "first-message": 3,
    "later-message": 1,
    "strangers": 3,
    "backlog": 1,
}


async def counts(contestant: str, program: str, folder: Path) -> dict[str, int | None]:
    enter = find_contestants()[contestant]
    course = Course(strangers=5, backlog=20)
    async with Stage.build(folder, program=program) as stage:
        return {
            figure.subject: figure.round_trips
            async for figure in course.run(contestant, enter, RTT, stage)
        }


async def test_our_client_waits_as_often_as_it_says(
    prosody_program: str, tmp_path: Path
) -> None:
    assert await counts("ours", prosody_program, tmp_path) == OURS


async def test_each_way_to_the_server_has_the_bound_that_was_asked_for(
    tmp_path: Path,
) -> None:
    async with Stage.build(tmp_path, rate=5000) as stage:
        assert stage.way(RTT).rate == 5000


@pytest.mark.skipif(find_modules() is None, reason="a quick login is the floor")
async def test_hand_written_stanzas_show_what_is_possible(tmp_path: Path) -> None:
    assert await counts("raw", "prosody", tmp_path) == FLOOR
