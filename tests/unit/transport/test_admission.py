import asyncio
import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import (
    ClientAuthorizationError,
    ControlPortError,
    DialError,
    OnionNotFoundError,
    TorNotRunningError,
)
from xmpp_onion.testing.fake_control import FakeControl
from xmpp_onion.testing.fake_socks import FakeSocks
from xmpp_onion.transport import (
    Admission,
    Isolation,
    Purpose,
    Tor,
    make_client_key,
)
from xmpp_onion.transport.admission import Admissions

NAME = OnionAddress.from_public_key(bytes(32))
SIDE = OnionAddress.from_public_key(b"\x01" * 32)
ISOLATION = Isolation("alice", Purpose.XMPP)
READY = ("250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=100 TAG=done", "250 OK")


def test_the_halves_of_a_key_belong_together() -> None:
    key = make_client_key()

    private = X25519PrivateKey.from_private_bytes(
        base64.b32decode(key.private + "====")
    )
    public = private.public_key().public_bytes_raw()
    assert base64.b32encode(public).decode().rstrip("=") == key.public
    assert make_client_key() != key


@pytest.mark.parametrize("change", [str.upper, str.lower])
def test_a_key_is_read_in_either_case(change: type[str]) -> None:
    key = make_client_key().private

    assert Admission.read(NAME, change(key)) == Admission(NAME, key)


@given(st.text(max_size=60))
def test_what_is_no_key_is_refused_and_not_quoted(text: str) -> None:
    # 52 letters happen in no run of this: each is drawn from all of Unicode.
    with pytest.raises(ValueError, match=r"^not a client authorization key$"):
        Admission.read(NAME, text)


def test_a_key_with_stray_bits_is_refused() -> None:
    # 52 letters are 260 bits: the last four have to be none.
    with pytest.raises(ValueError, match="not a client"):
        Admission.read(NAME, "A" * 51 + "B")


def test_the_key_is_in_no_repr() -> None:
    key = make_client_key().private

    assert key not in repr(Admission(NAME, key))


def test_the_line_for_a_tor_that_cannot_be_controlled_is_tors_own_form() -> None:
    admission = Admission(SIDE, make_client_key().private)

    label = SIDE.removesuffix(".onion")
    assert admission.torrc_line == f"{label}:descriptor:x25519:{admission.key}"


def test_a_sub_domain_goes_by_the_same_door() -> None:
    admissions = Admissions()
    admission = Admission(SIDE, make_client_key().private)
    admissions.add(NAME, admission)

    assert admissions.find(OnionAddress(f"muc.{NAME}")) is admission
    assert admissions.find(SIDE) is None


async def test_tor_has_the_key_before_it_dials_the_side_door() -> None:
    admission = Admission(SIDE, make_client_key().private)
    async with (
        FakeSocks() as proxy,
        FakeControl() as fake,
        Tor.attach(proxy.socks, fake.place) as tor,
    ):
        fake.answers["GETINFO"] = READY
        tor.admit(NAME, admission)
        for host in (NAME, OnionAddress(f"share.{NAME}")):
            (await tor.dial(host, 5222, isolation=ISOLATION)).close()

    raw = base64.b64encode(base64.b32decode(admission.key + "====")).decode()
    told = f"ONION_CLIENT_AUTH_ADD {SIDE.removesuffix('.onion')} x25519:{raw}"
    assert [ask for ask in fake.asked if ask.startswith("ONION_")] == [told, told]
    assert [request.host for request in proxy.asked] == [SIDE, SIDE]


async def test_other_services_are_dialed_as_before() -> None:
    async with (
        FakeSocks() as proxy,
        FakeControl() as fake,
        Tor.attach(proxy.socks, fake.place) as tor,
    ):
        fake.answers["GETINFO"] = READY
        tor.admit(NAME, Admission(SIDE, make_client_key().private))
        (await tor.dial(SIDE, 5222, isolation=ISOLATION)).close()

    assert not [ask for ask in fake.asked if ask.startswith("ONION_")]
    assert proxy.asked[0].host == SIDE


async def test_a_key_that_tor_refuses_is_told_without_the_key() -> None:
    admission = Admission(SIDE, make_client_key().private)
    async with (
        FakeSocks() as proxy,
        FakeControl() as fake,
        Tor.attach(proxy.socks, fake.place) as tor,
    ):
        fake.answers["GETINFO"] = READY
        fake.answers["ONION_CLIENT_AUTH_ADD"] = ("510 Unrecognized command",)
        tor.admit(NAME, admission)
        with pytest.raises(ControlPortError, match=r"0\.4\.6") as caught:
            await tor.dial(NAME, 5222, isolation=ISOLATION)

    assert "Unrecognized" in caught.value.why
    assert not proxy.asked


@pytest.mark.parametrize("reply", [0x04, 0xF0, 0xF4, 0xF5])
async def test_a_tor_that_cannot_take_a_key_says_how_it_could(reply: int) -> None:
    async with FakeSocks(reply) as proxy, Tor.attach(proxy.socks) as tor:
        tor.admit(NAME, Admission(SIDE, make_client_key().private))
        with pytest.raises(
            ClientAuthorizationError, match="ControlPort 9051"
        ) as caught:
            await tor.dial(NAME, 5222, isolation=ISOLATION)

    assert caught.value.reply == reply


async def _dial_private(
    proxy: FakeSocks, fake: FakeControl
) -> ClientAuthorizationError | None:
    async with Tor.attach(proxy.socks, fake.place) as tor:
        fake.answers["GETINFO"] = READY
        tor.admit(NAME, Admission(SIDE, make_client_key().private))
        try:
            (await tor.dial(NAME, 5222, isolation=ISOLATION)).close()
        except ClientAuthorizationError as error:
            return error
        return None


def _told(fake: FakeControl) -> int:
    return len([ask for ask in fake.asked if ask.startswith("ONION_CLIENT_AUTH_ADD")])


async def test_a_key_that_tor_forgot_before_the_dial_is_given_again() -> None:
    async with FakeSocks() as proxy, FakeControl() as fake:
        proxy.refuse_once(0xF4)

        assert await _dial_private(proxy, fake) is None
        assert (_told(fake), len(proxy.asked)) == (2, 2)


async def test_a_tor_that_forgets_each_key_is_told_as_such_and_tried_again() -> None:
    async with FakeSocks(0xF4) as proxy, FakeControl() as fake:
        error = await _dial_private(proxy, fake)

        assert error is not None
        assert error.can_retry
        assert "has forgotten the key" in error.why
        assert (_told(fake), len(proxy.asked)) == (2, 2)


async def test_a_key_that_the_service_does_not_know_is_shown_once() -> None:
    async with FakeSocks(0xF5) as proxy, FakeControl() as fake:
        error = await _dial_private(proxy, fake)

        assert error is not None
        assert not error.can_retry
        assert "does not know our client authorization key" in error.why
        assert (_told(fake), len(proxy.asked)) == (1, 1)


async def test_a_tor_that_has_the_key_in_its_own_folder_gets_through() -> None:
    async with FakeSocks() as proxy, Tor.attach(proxy.socks) as tor:
        tor.admit(NAME, Admission(SIDE, make_client_key().private))
        (await tor.dial(NAME, 5222, isolation=ISOLATION)).close()

    assert proxy.asked[0].host == SIDE


async def test_what_has_nothing_to_do_with_the_key_is_told_as_it_is() -> None:
    async with FakeSocks(0x01) as proxy, Tor.attach(proxy.socks) as tor:
        tor.admit(NAME, Admission(SIDE, make_client_key().private))
        with pytest.raises(DialError, match="what stands behind this port") as caught:
            await tor.dial(NAME, 5222, isolation=ISOLATION)
        assert not isinstance(caught.value, ClientAuthorizationError)
        assert caught.value.__cause__ is not caught.value


async def test_without_an_admission_a_missing_service_is_just_missing() -> None:
    async with FakeSocks(0xF0) as proxy, Tor.attach(proxy.socks) as tor:
        with pytest.raises(OnionNotFoundError):
            await tor.dial(NAME, 5222, isolation=ISOLATION)


async def test_a_tor_that_ended_is_told_as_such() -> None:
    async with (
        FakeSocks() as proxy,
        FakeControl() as fake,
        Tor.attach(proxy.socks, fake.place) as tor,
    ):
        fake.answers["GETINFO"] = READY
        fake.answers["ONION_CLIENT_AUTH_ADD"] = None
        tor.admit(NAME, Admission(SIDE, make_client_key().private))
        async with asyncio.TaskGroup() as tasks:
            dialing = tasks.create_task(_dial(tor))
            while not fake.asked[-1].startswith("ONION_"):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
            fake.hang_up()
            assert isinstance(await dialing, TorNotRunningError)


async def _dial(tor: Tor) -> TorNotRunningError | None:
    try:
        (await tor.dial(NAME, 5222, isolation=ISOLATION)).close()
    except TorNotRunningError as error:
        return error
    return None
