import base64
import hashlib
import hmac

import pytest

from xmpp_onion.errors import AuthenticationError
from xmpp_onion.session.proof import PasswordProof, TokenProof
from xmpp_onion.session.scram import Scram

TOKEN = TokenProof("alice", "secret-token:fast-x")


def test_a_token_is_proved_and_not_sent() -> None:
    name, _, proof = TOKEN.first().partition(b"\0")

    assert name == b"alice"
    expected = hmac.new(b"secret-token:fast-x", b"Initiator", hashlib.sha256).digest()
    assert proof == expected
    assert b"secret-token" not in TOKEN.first()
    assert "secret-token" not in repr(TOKEN)


def test_the_server_has_to_prove_the_token_too() -> None:
    mac = hmac.new(b"secret-token:fast-x", b"Responder", hashlib.sha256)

    TOKEN.verify(mac.digest())
    for shown in (b"", TOKEN.first().partition(b"\0")[2], mac.digest()[:-1]):
        with pytest.raises(AuthenticationError, match="knows our token"):
            TOKEN.verify(shown)


async def test_nothing_more_is_told_about_a_token() -> None:
    with pytest.raises(AuthenticationError, match="more than a token"):
        await TOKEN.answer(b"r=,s=,i=")


async def test_a_password_is_proved_as_rfc_7677_has_it() -> None:
    # Section 3; the exchange is given there in full.
    scram = Scram("SCRAM-SHA-256", "user", "pencil", "rOprNGfwEbeRWgbNEkqO")
    proof = PasswordProof(scram)
    challenge = (
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )

    assert proof.first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    answer = await proof.answer(challenge)
    assert answer.endswith(b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    proof.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    with pytest.raises(AuthenticationError):
        proof.verify(b"v=" + base64.b64encode(bytes(32)))


@pytest.mark.parametrize("message", [b"\xff", b"v=\xff"])
async def test_what_is_no_text_is_refused(message: bytes) -> None:
    proof = PasswordProof(Scram("SCRAM-SHA-256", "user", "pencil"))

    with pytest.raises(AuthenticationError, match="malformed"):
        await proof.answer(message)
    with pytest.raises(AuthenticationError, match="malformed"):
        proof.verify(message)
