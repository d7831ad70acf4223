import base64

import pytest

from xmpp_onion.errors import AuthenticationError, FeatureMissingError
from xmpp_onion.session.scram import (
    MAX_ITERATIONS,
    MIN_ITERATIONS,
    Scram,
    choose_mechanism,
)

# RFC 7677, section 3.
NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = NONCE + "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SALT = "W22ZaJ0SNY7soEsUEjb6gQ=="
CHALLENGE = f"r={SERVER_NONCE},s={SALT},i=4096"
PROOF = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
VERIFIER = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def scram(password: str = "pencil") -> Scram:  # noqa: S107 - the RFC's
    return Scram("SCRAM-SHA-256", "user", password, nonce=NONCE)


def test_the_example_of_rfc_7677_comes_out() -> None:
    login = scram()
    assert login.first_message() == f"n,,n=user,r={NONCE}"
    challenge = login.read_challenge(CHALLENGE)
    assert login.answer(challenge) == f"c=biws,r={SERVER_NONCE},p={PROOF}"
    login.verify(f"v={VERIFIER}")


def test_sha_512_is_another_proof() -> None:
    login = Scram("SCRAM-SHA-512", "user", "pencil", nonce=NONCE)
    proof = login.answer(login.read_challenge(CHALLENGE)).partition(",p=")[2]
    assert len(base64.b64decode(proof)) == 64


def test_names_are_escaped_and_passwords_prepared() -> None:
    assert Scram("SCRAM-SHA-256", "a=b,c", "x", nonce="n").first_message() == (
        "n,,n=a=3Db=2Cc,r=n"
    )
    ligature, plain = scram("\ufb01sh"), scram("fish")
    assert ligature.answer(ligature.read_challenge(CHALLENGE)) == plain.answer(
        plain.read_challenge(CHALLENGE)
    )


def test_nonces_are_random_and_long() -> None:
    nonces = {Scram("SCRAM-SHA-256", "u", "p").nonce for _ in range(100)}
    assert len(nonces) == 100
    assert all(len(nonce) >= 32 for nonce in nonces)


def test_the_password_is_not_in_its_repr() -> None:
    assert "pencil" not in repr(scram())


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        f"r={NONCE},s={SALT},i=4096",
        f"r=other,s={SALT},i=4096",
        f"r={SERVER_NONCE},i=4096",
        f"r={SERVER_NONCE},s=,i=4096",
        f"r={SERVER_NONCE},s=?,i=4096",
        f"r={SERVER_NONCE},s={SALT}",
        f"r={SERVER_NONCE},s={SALT},i=",
        f"r={SERVER_NONCE},s={SALT},i=x",
        f"r={SERVER_NONCE},s={SALT},i=\u0664\u0660\u0669\u0666",
        f"m=ext,r={SERVER_NONCE},s={SALT},i=4096",
        *(
            f"r={SERVER_NONCE},s={SALT},i={i}"
            for i in (-1, 0, 1, MIN_ITERATIONS - 1, MAX_ITERATIONS + 1, 2**31)
        ),
    ],
)
def test_a_challenge_that_is_malformed_unsafe_or_insane_is_refused(
    challenge: str,
) -> None:
    with pytest.raises(AuthenticationError):
        scram().read_challenge(challenge)


@pytest.mark.parametrize("password", ["a\x07", "\u0627a"])
def test_a_password_that_cannot_be_one_is_refused_without_quoting_it(
    password: str,
) -> None:
    login = Scram("SCRAM-SHA-256", "user", password)
    challenge = login.read_challenge(f"r={login.nonce}x,s=QUJD,i=4096")
    with pytest.raises(AuthenticationError, match="cannot be used") as caught:
        login.answer(challenge)
    assert password not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "text", ["", "v=", "v=AAAA", "e=other-error", "v=?", "x", "v=\u00e9"]
)
def test_a_server_that_does_not_know_the_password_is_refused(text: str) -> None:
    login = scram()
    login.answer(login.read_challenge(CHALLENGE))
    with pytest.raises(AuthenticationError, match="prove"):
        login.verify(text)


@pytest.mark.parametrize("text", ["v=", f"v={VERIFIER}"])
def test_success_before_the_challenge_is_refused(text: str) -> None:
    with pytest.raises(AuthenticationError, match="prove"):
        scram().verify(text)


def test_the_strongest_mechanism_is_chosen_and_none_is_better_than_a_weak_one() -> None:
    assert choose_mechanism(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]) == (
        "SCRAM-SHA-512"
    )
    with pytest.raises(FeatureMissingError) as caught:
        choose_mechanism(["PLAIN", "LOGIN", "DIGEST-MD5", "ANONYMOUS", "SCRAM-SHA-1"])
    assert "password_hash" in caught.value.fix
