import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.errors import AuthenticationError, FeatureMissingError
from xmpp_onion.session.remembered import Remembered

SASL = "urn:ietf:params:xml:ns:xmpp-sasl"


def features(inside: str) -> ET.Element:
    return ET.fromstring(  # noqa: S314 - ours
        f"<f:features xmlns:f='http://etherx.jabber.org/streams'>{inside}</f:features>"
    )


def mechanisms(*names: str) -> str:
    return "".join(f"<mechanism>{name}</mechanism>" for name in names)


def steps(*names: str) -> str:
    return f"<mechanisms xmlns='{SASL}'>{mechanisms(*names)}</mechanisms>"


def quick(
    *names: str, fast: str = "HT-SHA-256-NONE", acks: str = "urn:xmpp:sm:3"
) -> str:
    return (
        f"<authentication xmlns='urn:xmpp:sasl:2'>{mechanisms(*names)}<inline>"
        f"<sm xmlns='{acks}'/><bind xmlns='urn:xmpp:bind:0'/>"
        f"<fast xmlns='urn:xmpp:fast:0'>{mechanisms(fast)}</fast>"
        "</inline></authentication>"
    )


def test_a_server_is_learned_that_takes_all_in_one() -> None:
    known = Remembered().learn(
        features(steps("SCRAM-SHA-1") + quick("SCRAM-SHA-1", "SCRAM-SHA-256"))
    )

    assert known == Remembered(
        mechanism="SCRAM-SHA-256",
        is_current=True,
        is_quick=True,
        gives_tokens=True,
        acks_inline=True,
    )


def test_a_server_is_learned_that_takes_it_in_steps() -> None:
    known = Remembered().learn(features(steps("SCRAM-SHA-256", "PLAIN")))

    assert known == Remembered(mechanism="SCRAM-SHA-256", is_current=True)


def test_a_server_says_whether_the_way_to_an_earlier_stream_is_safe() -> None:
    ours = "<resumption xmlns='urn:xmpp-onion:resumption:0'/>"

    known = Remembered().learn(features(steps("SCRAM-SHA-256") + ours))
    later = known.learn(features(steps("SCRAM-SHA-256")))

    assert (known.resumes_whole, later.resumes_whole) == (True, False)


def test_what_we_cannot_use_is_not_used() -> None:
    without_bind = quick("SCRAM-SHA-256").replace("urn:xmpp:bind:0", "other")
    other_tokens = quick("SCRAM-SHA-256", fast="HT-SHA-256-EXPR", acks="other")

    slow = Remembered().learn(features(steps("SCRAM-SHA-256") + without_bind))
    known = Remembered().learn(features(other_tokens))

    assert (slow.is_quick, slow.gives_tokens, slow.acks_inline) == (False,) * 3
    assert (known.is_quick, known.gives_tokens, known.acks_inline) == (
        *(True, False, False),
    )


@pytest.mark.parametrize("offer", [steps("PLAIN"), quick("SCRAM-SHA-1", "PLAIN"), ""])
def test_no_safe_way_is_none(offer: str) -> None:
    with pytest.raises(FeatureMissingError):
        Remembered().learn(features(offer))


@pytest.mark.parametrize("weaker", [steps, quick])
def test_a_weaker_way_than_before_is_refused_and_a_stronger_kept(
    weaker: Callable[[str], str],
) -> None:
    before = Remembered().learn(features(steps("SCRAM-SHA-256")))
    strong = before.learn(features(steps("SCRAM-SHA-256", "SCRAM-SHA-512")))

    assert strong.mechanism == "SCRAM-SHA-512"
    for known in (strong, strong.forget(), Remembered.parse(strong.dump())):
        with pytest.raises(AuthenticationError, match="weaker"):
            known.learn(features(weaker("SCRAM-SHA-256")))


def test_what_proved_wrong_is_forgotten() -> None:
    known = Remembered().learn(features(quick("SCRAM-SHA-256"))).with_token("token")

    assert known.forget() == Remembered(mechanism="SCRAM-SHA-256")


def test_a_token_is_kept_and_not_shown() -> None:
    known = Remembered().with_token("secret-token")

    assert Remembered.parse(known.dump()).token == "secret-token"
    assert "secret-token" not in repr(known)
    assert known.with_token("x" * 1025).token == ""


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "1", '{"other": 1}', '{"mechanism": "PLAIN"}',
        '{"mechanism": 1}', '{"is_quick": 1}', '{"token": null}', "{", "{}x",
    ],
)  # fmt: skip
def test_whatever_is_wrong_is_forgotten(text: str) -> None:
    assert Remembered.parse(text) == Remembered()


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    assert Remembered.parse(text) == Remembered()


@given(st.sampled_from(["", "SCRAM-SHA-512"]), st.booleans(), st.text(max_size=50))
def test_it_is_read_as_it_was_written(
    mechanism: str,
    flag: bool,  # noqa: FBT001 - of hypothesis
    token: str,
) -> None:
    known = replace(
        Remembered(), mechanism=mechanism, is_quick=flag, has_tls=not flag, token=token
    )

    assert Remembered.parse(known.dump()) == known
    assert json.loads(known.dump())["token"] == token


def test_what_a_server_took_away_is_told_and_what_it_added_is_not() -> None:
    rich = Remembered(mechanism="SCRAM-SHA-256", is_quick=True, gives_tokens=True)
    poor = Remembered(mechanism="SCRAM-SHA-256")
    assert len([*rich.lost(poor)]) == 2
    assert [*poor.lost(rich)] == [*rich.lost(rich)] == []
