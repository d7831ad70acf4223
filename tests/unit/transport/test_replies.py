import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import (
    ClientAuthorizationError,
    DialError,
    DialTimeoutError,
    OnionNotFoundError,
    OnionUnreachableError,
)
from xmpp_onion.transport.replies import refused

ONION = OnionAddress.from_public_key(bytes(32))

# Which class, and whether to try again: RFC 1928 and Tor's SOCKS extensions.
MEANINGS = [
    (0x01, DialError, True),
    (0x02, DialError, False),
    (0x03, DialError, True),
    (0x04, DialError, True),
    (0x05, DialError, True),
    (0x06, DialTimeoutError, True),
    (0x07, DialError, False),
    (0x08, DialError, False),
    (0xF0, OnionNotFoundError, True),
    (0xF1, OnionUnreachableError, True),
    (0xF2, OnionUnreachableError, True),
    (0xF3, OnionUnreachableError, True),
    (0xF4, ClientAuthorizationError, False),
    (0xF5, ClientAuthorizationError, False),
    (0xF6, DialError, False),
    (0xF7, OnionUnreachableError, True),
    (0x5A, DialError, True),
]


@pytest.mark.parametrize(("reply", "kind", "can_retry"), MEANINGS)
def test_a_reply_has_a_named_error_and_a_verdict_on_retrying(
    reply: int, kind: type[DialError], *, can_retry: bool
) -> None:
    error = refused(ONION, 5222, reply)

    assert type(error) is kind
    assert error.reply == reply
    assert error.can_retry is can_retry
    assert error.host == ONION


@pytest.mark.parametrize("reply", [reply for reply, *_ in MEANINGS])
def test_each_reply_says_why_and_what_to_do(reply: int) -> None:
    error = refused(ONION, 5222, reply)

    assert error.why
    assert error.fix.endswith((".", "`"))


@pytest.mark.parametrize("reply", [reply for reply, *_ in MEANINGS])
def test_the_text_does_not_name_the_whole_service(reply: int) -> None:
    assert ONION.service not in str(refused(ONION, 5222, reply))


def test_the_message_reads_as_one_sentence_after_the_other() -> None:
    assert str(refused(ONION, 5222, 0xF2)) == (
        "could not reach aaaaaa….onion port 5222 (Tor's reply 0xF2): the service is "
        "published and does not answer; it may have just stopped. Try again in a "
        "minute."
    )
