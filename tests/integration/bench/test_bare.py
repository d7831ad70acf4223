"""The bare libraries still do what they are measured at."""

from pathlib import Path

import pytest

from xmpp_onion.bench.bare import bare
from xmpp_onion.bench.course import Course
from xmpp_onion.bench.stage import Stage

pytestmark = pytest.mark.prosody


async def test_they_log_in_write_and_catch_up(tmp_path: Path) -> None:
    course = Course(strangers=0, backlog=3)
    async with Stage.build(tmp_path) as stage:
        figures = [figure async for figure in course.run("bare", bare, 0.0, stage)]

    assert [(each.subject, each.size) for each in figures] == [
        *[(name, 1) for name in ("first-login", "login")],
        *[(name, 1) for name in ("first-message", "later-message")],
        ("backlog", 3),
    ]
    assert all(each.round_trips for each in figures)
    assert all(each.bytes_up for each in figures)
