import logging

import pytest

from xmpp_onion.errors import ReaderFaultError
from xmpp_onion.session.connection import is_fatal
from xmpp_onion.session.faults import Faults

SEED = "canary-2718"


def test_the_tenth_in_a_row_is_final_and_names_the_place_and_no_content(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = Faults()
    told = [faults.note_end(KeyError(SEED)) for _ in range(10)]

    assert [is_fatal(error) for error in told] == [*9 * [False], True]
    assert isinstance(told[-1], ReaderFaultError)
    assert "KeyError in" in told[-1].why
    assert SEED not in str(told) + caplog.text


def test_mistakes_with_good_connections_between_give_nothing_up() -> None:
    faults = Faults()
    for _ in range(9):
        faults.note_end(KeyError(SEED))
    faults.forget()

    assert not is_fatal(faults.note_end(KeyError(SEED)))


def test_a_mistake_in_a_task_is_told_as_itself_and_not_as_its_group() -> None:
    told = Faults().note_end(ExceptionGroup("of tasks", [KeyError(SEED)]))
    assert "KeyError in" in told.why


def test_stanzas_that_are_set_aside_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    faults = Faults()
    faults.note_stanza(ValueError(SEED))

    assert (faults.set_aside, faults.in_a_row) == (1, 0)
    assert "ValueError in" in caplog.text
    assert SEED not in caplog.text
