"""Made-up histories: the judge notices each defect, and only that."""

import json
import subprocess
import sys
from pathlib import Path

import checker
import pytest
from checker import Entry, judge

STARTED: Entry = {"what": "started", "who": "alice@x"}
RESTARTED: Entry = {"what": "started", "who": "bob@x"}
STOPPED: Entry = {"what": "stopped"}


def intent(number: int) -> Entry:
    return {"what": "intent", "number": number}


def accepted(number: int) -> Entry:
    return {"what": "accepted", "number": number, "id": f"id {number}"}


def sent(number: int) -> list[Entry]:
    return [intent(number), accepted(number)]


def handled(number: int) -> Entry:
    return {
        "what": "handled",
        "sender": "alice@x",
        "number": number,
        "id": f"id {number}",
    }


def wrongs(alice: list[Entry], bob: list[Entry]) -> dict[str, list[str]]:
    figures = judge([[STARTED, *alice], [RESTARTED, *bob]])
    names = ("lost", "repeated", "reordered", "forged")
    found = {name: getattr(figures, name) for name in names}
    return {name: what for name, what in found.items() if what}


def test_what_arrives_once_and_in_order_is_clean() -> None:
    assert wrongs([*sent(1), *sent(2)], [handled(1), handled(2)]) == {}


def test_what_was_accepted_and_never_handled_is_lost() -> None:
    assert wrongs([*sent(1), *sent(2)], [handled(1)]) == {"lost": ["alice 2"]}


def test_in_a_room_what_one_of_the_others_never_handled_is_lost() -> None:
    carol: Entry = {"what": "started", "who": "carol@x"}
    both = [[STARTED, *sent(1)], [RESTARTED, handled(1)], [carol, handled(1)]]
    one = [[STARTED, *sent(1)], [RESTARTED, handled(1)], [carol]]

    assert judge(both, in_room=True).lost == []
    assert judge(one, in_room=True).lost == ["alice 1"]
    assert judge(one).lost == []


def test_what_nobody_promised_may_arrive_or_not() -> None:
    killed = [intent(1), STARTED, *sent(2)]

    assert wrongs(killed, [handled(2)]) == {}
    assert wrongs(killed, [handled(1), handled(2)]) == {}


def test_the_same_twice_in_one_process_is_repeated() -> None:
    assert wrongs(sent(1), [handled(1), handled(1)]) == {"repeated": ["alice 1"]}


def test_the_last_of_a_process_may_be_the_first_of_the_next() -> None:
    figures = judge(
        [[STARTED, *sent(1)], [RESTARTED, handled(1), RESTARTED, handled(1)]]
    )

    assert figures.is_clean
    assert figures.handled_again == 1


def test_a_process_that_handled_nothing_in_between_changes_nothing() -> None:
    bob = [handled(1), RESTARTED, STOPPED, RESTARTED, handled(1)]

    assert wrongs(sent(1), bob) == {}


@pytest.mark.parametrize(
    "bob",
    [
        [handled(1), handled(2), RESTARTED, handled(1)],  # was not the last
        [handled(1), RESTARTED, handled(2), handled(1)],  # is not the first
        [handled(2), RESTARTED, handled(2), handled(2), handled(1)],  # twice again
    ],
)
def test_any_other_repetition_after_a_kill_is_one(bob: list[Entry]) -> None:
    alice = [intent(1), intent(2), accepted(1), accepted(2)]

    assert list(wrongs(alice, bob)) == ["repeated"]


def test_what_was_handed_over_before_must_be_handled_before() -> None:
    assert wrongs([*sent(1), *sent(2)], [handled(2), handled(1)]) == {
        "reordered": ["alice 1 after 2"]
    }


def test_what_is_handed_over_at_once_has_no_order() -> None:
    alice = [intent(1), intent(2), accepted(1), accepted(2)]

    assert wrongs(alice, [handled(2), handled(1)]) == {}


def test_what_a_killed_process_meant_to_send_comes_before_what_the_next_one_sends() -> (
    None
):
    alice = [intent(1), STARTED, *sent(2)]

    assert wrongs(alice, [handled(2), handled(1)]) == {"reordered": ["alice 1 after 2"]}


def test_order_is_that_of_each_sender() -> None:
    carol = {"what": "started", "who": "carol@x"}
    from_carol = {"what": "handled", "sender": "carol@x", "number": 1, "id": "id 1"}

    figures = judge(
        [
            [STARTED, *sent(1), *sent(2)],
            [carol, *sent(1)],
            [RESTARTED, handled(1), from_carol, handled(2)],
        ]
    )

    assert figures.is_clean
    assert figures.accepted == 3


def test_what_nobody_sent_is_forged() -> None:
    assert wrongs(sent(1), [handled(1), handled(7)]) == {"forged": ["alice 7"]}


def test_what_was_refused_must_not_arrive() -> None:
    refused: Entry = {"what": "refused", "number": 1, "error": "no"}

    assert wrongs([intent(1), refused], []) == {}
    assert wrongs([intent(1), refused], [handled(1)]) == {"forged": ["alice 1"]}


def test_another_id_than_the_sender_was_told_is_forged() -> None:
    other = {**handled(1), "id": "another"}

    assert wrongs(sent(1), [other]) == {"forged": ["alice 1 under another id"]}


def test_a_line_that_a_kill_cut_short_did_not_happen(tmp_path: Path) -> None:
    path = tmp_path / "alice.history"
    path.write_text('{"what": "stopped"}\n{"what": "inten', "utf-8")

    assert checker.read(path) == [STOPPED]


@pytest.mark.parametrize(("bob", "status"), [([handled(1)], 0), ([], 1)])
def test_the_program_says_it_with_its_exit_status(
    tmp_path: Path, bob: list[Entry], status: int
) -> None:
    for name, entries in (("a", [STARTED, *sent(1)]), ("b", [RESTARTED, *bob])):
        lines = (json.dumps(entry) + "\n" for entry in entries)
        (tmp_path / name).write_text("".join(lines), "utf-8")

    ran = subprocess.run(
        [sys.executable, checker.__file__, tmp_path / "a", tmp_path / "b"],
        check=False,
        capture_output=True,
    )

    assert ran.returncode == status
    assert len(json.loads(ran.stdout)["lost"]) == status


def test_the_judge_knows_nothing_of_what_it_judges() -> None:
    text = Path(checker.__file__).read_text("utf-8")

    assert "xmpp_onion" not in text
