import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from xmpp_onion.address import JID
from xmpp_onion.session.gate import Bucket, Gate, Verdict

ONION = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion"
BOB, ALICE = JID(f"bob@{ONION}"), JID(f"alice@{ONION}")
STRANGER = f"mallory@{ONION}"
VERSION = "<query xmlns='jabber:iq:version'/>"
PUSH = (
    f"<query xmlns='jabber:iq:roster'><item jid='{STRANGER}' subscription='both'/>"
    "</query>"
)
BLOCK = f"<block xmlns='urn:xmpp:blocking'><item jid='{ALICE}'/></block>"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    gate = Gate(BOB, clock=clock)
    gate.friends = frozenset({ALICE})
    return gate


def stanza(
    content: str = VERSION, sender: str | None = STRANGER, kind: str = "get"
) -> ET.Element:
    source = "" if sender is None else f"from='{sender}'"
    return ET.fromstring(  # noqa: S314 - it is our own text
        f"<iq xmlns='jabber:client' {source} type='{kind}' id='1'>{content}</iq>"
    )


def event(node: str, sender: str | None) -> ET.Element:
    source = "" if sender is None else f"from='{sender}'"
    return ET.fromstring(  # noqa: S314 - it is our own text
        f"<message xmlns='jabber:client' {source}>"
        "<event xmlns='http://jabber.org/protocol/pubsub#event'>"
        f"<items node='{node}'><item id='1'/></items></event></message>"
    )


@pytest.mark.parametrize("kind", ["get", "set"])
@pytest.mark.parametrize(
    "sender", [f"{STRANGER}/x", STRANGER, "//", "", f"carol@{ONION}"]
)
def test_a_stranger_gets_no_answer_at_all(gate: Gate, sender: str, kind: str) -> None:
    assert gate.judge(stanza(sender=sender, kind=kind)) is Verdict.DROP


@pytest.mark.parametrize("sender", [None, BOB, f"{BOB}/other", ONION, f"{ALICE}/x"])
def test_our_server_ourselves_and_friends_are_answered(
    gate: Gate, sender: str | None
) -> None:
    assert gate.judge(stanza(sender=sender)) is Verdict.PASS


def test_a_friend_is_answered_so_often_and_no_more(gate: Gate, clock: Clock) -> None:
    verdicts = [gate.judge(stanza(sender=f"{ALICE}/{n}")) for n in range(10_000)]

    assert verdicts.count(Verdict.PASS) == 20
    clock.now += 60
    assert gate.judge(stanza(sender=ALICE)) is Verdict.PASS


def test_an_answer_to_our_own_question_always_gets_through(gate: Gate) -> None:
    assert gate.judge(stanza(kind="result")) is Verdict.PASS
    assert gate.judge(stanza(kind="error")) is Verdict.PASS


@pytest.mark.parametrize("content", [PUSH, BLOCK])
@pytest.mark.parametrize(
    ("sender", "verdict"),
    [
        (None, Verdict.CONFIRM),
        (BOB, Verdict.CONFIRM),
        (f"{BOB}/other", Verdict.REFUSE),
        (ONION, Verdict.REFUSE),
        (ALICE, Verdict.REFUSE),
        (STRANGER, Verdict.DROP),
    ],
)
def test_a_push_counts_from_our_bare_account_alone(
    gate: Gate, content: str, sender: str | None, verdict: Verdict
) -> None:
    assert gate.judge(stanza(content, sender, "set")) is verdict


@pytest.mark.parametrize(
    "node", ["urn:xmpp:bookmarks:1", "storage:bookmarks", "urn:xmpp:microblog:0", ""]
)
def test_our_own_nodes_change_by_our_own_account_alone(gate: Gate, node: str) -> None:
    assert gate.judge(event(node, None)) is Verdict.PASS
    assert gate.judge(event(node, BOB)) is Verdict.PASS
    for sender in (ALICE, STRANGER, f"{BOB}/other", ONION):
        assert gate.judge(event(node, sender)) is Verdict.DROP


@pytest.mark.parametrize(
    "node", ["eu.siacs.conversations.axolotl.devicelist", "urn:xmpp:omemo:2:devices"]
)
def test_anybody_tells_about_his_own_devices(gate: Gate, node: str) -> None:
    assert gate.judge(event(node, ALICE)) is Verdict.PASS


def test_presence_of_strangers_goes_nowhere(gate: Gate) -> None:
    def presence(sender: str) -> ET.Element:
        return ET.Element("{jabber:client}presence", {"from": sender})

    assert gate.judge(presence(f"{ALICE}/x")) is Verdict.PASS
    assert gate.judge(presence(f"{BOB}/x")) is Verdict.PASS
    assert gate.judge(presence(f"{STRANGER}/x")) is Verdict.DROP


def test_a_bucket_fills_again_and_never_over(clock: Clock) -> None:
    bucket = Bucket(3, 0.5, clock=clock)
    assert [bucket.take("a") for _ in range(4)] == [True, True, True, False]
    clock.now += 2
    assert [bucket.take("a") for _ in range(2)] == [True, False]
    clock.now += 10_000
    assert [bucket.take("a") for _ in range(4)] == [True, True, True, False]


def test_a_bucket_keeps_a_bounded_number_of_names(clock: Clock) -> None:
    bucket = Bucket(1, 1, names=10, clock=clock)
    for number in range(100):
        assert bucket.take(str(number))
    assert len(bucket) == 10
    assert all(not bucket.take(str(n)) for n, _ in pairwise(range(90, 101)))
