"""Profanity on the course of ``xmpp-onion bench``: it is followed, and it is read."""

from pathlib import Path

import pytest

from xmpp_onion.bench.contestants import find_contestants
from xmpp_onion.bench.programme import QUICK
from xmpp_onion.bench.stage import Stage

pytestmark = [pytest.mark.prosody, pytest.mark.alone]

# Profanity 0.13.1 at a round trip well above what it thinks. Strangers are left out,
# see course.py.
COUNTS = {
    "first-login": 13,
    "login": 10,
    "first-message": 3,
    "later-message": 1,
}


async def test_profanity_does_its_course_and_each_text_is_decrypted(
    tmp_path: Path,
) -> None:
    enter = find_contestants()["profanity"]
    async with Stage.build(tmp_path) as stage:
        figures = [each async for each in QUICK.run("profanity", enter, 1.0, stage)]

    counts = {each.subject: each.round_trips for each in figures}
    # Where in it the last of those that waited is shown, is up to the machine.
    assert (counts.pop("backlog") or 0) >= COUNTS["login"]
    assert counts == COUNTS
