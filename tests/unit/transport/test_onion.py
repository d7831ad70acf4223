import asyncio
import base64
import os
import stat
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import OnionServiceError, StorePermissionError
from xmpp_onion.testing.fake_control import FakeControl
from xmpp_onion.testing.fake_socks import FakeSocks
from xmpp_onion.transport import Guard, Tor, onion
from xmpp_onion.transport.control import Control, open_control
from xmpp_onion.transport.onion import OnionService, create_key, read_address

# RFC 8032, section 7.1, TEST 1: seed and public key.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex(
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
)


# --- keys ---------------------------------------------------------------------------


def test_a_key_is_made_once_and_keeps_its_address(tmp_path: Path) -> None:
    address = create_key(tmp_path / "key")

    assert isinstance(address, OnionAddress)
    assert read_address(tmp_path / "key") == address
    assert create_key(tmp_path / "other") != address


def test_a_key_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        create_key(tmp_path / "key")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    create_key(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()

    with pytest.raises(OnionServiceError, match="already"):
        create_key(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorePermissionError):
        create_key(tmp_path / "missing" / "key")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o700 | 0o001])
def test_a_key_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    create_key(tmp_path / "key")
    (tmp_path / "key").chmod(mode)

    with pytest.raises(StorePermissionError, match="chmod 600"):
        read_address(tmp_path / "key")


def test_a_key_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_key(tmp_path / "key")
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)

    with pytest.raises(StorePermissionError, match="belongs to another user"):
        read_address(tmp_path / "key")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    create_key(tmp_path / "key")
    (tmp_path / "link").symlink_to(tmp_path / "key")

    with pytest.raises(StorePermissionError):
        read_address(tmp_path / "link")


def test_a_missing_key_is_told(tmp_path: Path) -> None:
    with pytest.raises(OnionServiceError, match="there is no key"):
        read_address(tmp_path / "key")


def _x25519() -> bytes:
    key = x25519.X25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", os.urandom(64), _x25519()],
    ids=["empty", "junk", "noise", "another-kind"],
)
def test_something_else_than_a_key_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_bytes(content)

    with pytest.raises(OnionServiceError, match="does not hold the key"):
        read_address(tmp_path / "key")


def test_the_address_and_the_expanded_key_follow_the_rfc() -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(SEED)
    expanded = base64.b64decode(onion._expanded(key))

    # RFC 8032, section 5.1.5: clamped; the scalar gives the public key.
    assert expanded.hex().startswith("307c83864f2833cb427a2ef1c00a013c")
    assert len(expanded) == 64
    assert expanded[0] & 7 == 0
    assert expanded[31] & 0xC0 == 0x40
    assert onion._address(key) == OnionAddress.from_public_key(PUBLIC)


# --- publishing ---------------------------------------------------------------------


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    create_key(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
async def fake() -> AsyncIterator[FakeControl]:
    async with FakeControl() as control:
        yield control


@asynccontextmanager
async def _service(
    fake: FakeControl, pool: Executor, key_file: Path, *, guard: Guard | None = None
) -> AsyncIterator[OnionService]:
    async with open_control(fake.place, pool=pool) as control:

        async def ready() -> Control:
            return control

        yield OnionService(
            key_file, {5222: 40000, 80: 40001}, ready=ready, guard=guard or Guard()
        )


def _tell(fake: FakeControl, service: OnionService, *actions: str) -> None:
    """Let the fake report uploads as soon as the service is added."""
    label = service.address.removesuffix(".onion")
    events = [
        f"650 HS_DESC {kind} {label} UNKNOWN {details}"
        for kind, details in (action.split(maxsplit=1) for action in actions)
    ]
    fake.answers["ADD_ONION"] = (f"250-ServiceID={label}", "250 OK", *events)


async def test_a_service_is_published_until_the_block_ends(
    fake: FakeControl, pool: Executor, key_file: Path
) -> None:
    async with _service(fake, pool, key_file) as service:
        _tell(fake, service, "UPLOAD $A", "UPLOAD $B", "UPLOADED $A", "UPLOADED $B")
        async with service as published:
            assert published.address == read_address(key_file)
            assert "published" in repr(published)

    (added,) = [line for line in fake.asked if line.startswith("ADD_ONION")]
    assert added.startswith("ADD_ONION ED25519-V3:")
    assert added.endswith(" Port=5222,127.0.0.1:40000 Port=80,127.0.0.1:40001")
    assert "MaxStreams" not in added
    assert fake.asked[-1] == f"DEL_ONION {service.address.removesuffix('.onion')}"


async def test_it_waits_for_the_uploads_that_have_begun(
    fake: FakeControl, pool: Executor, key_file: Path
) -> None:
    async with _service(fake, pool, key_file) as service, asyncio.TaskGroup() as tasks:
        _tell(fake, service, "UPLOAD $A", "UPLOAD $B", "UPLOADED $A")
        entering = tasks.create_task(service.__aenter__())
        await _until(lambda: bool(_added(fake)))
        await asyncio.sleep(0.05)
        assert not entering.done()
        label = service.address.removesuffix(".onion")
        fake.say(f"650 HS_DESC FAILED {label} UNKNOWN $B REASON=UPLOAD_REJECTED")
        await entering


async def test_uploads_of_other_services_do_not_count(
    fake: FakeControl, pool: Executor, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onion, "_UPLOAD_TIMEOUT", 0.2)
    async with _service(fake, pool, key_file) as service:
        _tell(fake, service, "UPLOAD $A", "FAILED $A REASON=UPLOAD_REJECTED")
        told = fake.answers["ADD_ONION"] or ()
        other = f"650 HS_DESC UPLOADED {'a' * 56} UNKNOWN $B"
        fake.answers["ADD_ONION"] = (*told, other)

        with pytest.raises(OnionServiceError, match="REASON=UPLOAD_REJECTED"):
            await service.__aenter__()

    assert any(line.startswith("DEL_ONION") for line in fake.asked)


async def test_an_address_that_is_published_already_is_told(
    fake: FakeControl, pool: Executor, key_file: Path
) -> None:
    fake.answers["ADD_ONION"] = ("550 Onion address collision",)
    async with _service(fake, pool, key_file) as service:
        with pytest.raises(OnionServiceError, match="publishes it already"):
            await service.__aenter__()

    assert not [line for line in fake.asked if line.startswith("DEL_ONION")]


async def test_the_end_of_tor_while_publishing_is_told(
    fake: FakeControl, pool: Executor, key_file: Path
) -> None:
    async with _service(fake, pool, key_file) as service, asyncio.TaskGroup() as tasks:
        entering = tasks.create_task(_error_of(service))
        await _until(lambda: bool(_added(fake)))
        fake.hang_up()

        assert "Tor ended meanwhile" in str(await entering)


async def test_a_service_is_published_again_when_tor_came_back(
    fake: FakeControl, key_file: Path
) -> None:
    fake.answers["GETINFO"] = (
        "250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=100 TAG=done",
        "250 OK",
    )
    async with FakeSocks() as proxy, Tor.attach(proxy.socks, fake.place) as tor:
        service = tor.onion_service(key_file, {5222: 40000})
        _tell(fake, service, "UPLOAD $A", "UPLOADED $A")
        async with service:
            before = len(_added(fake))
            # Away: the next connection is refused, the one after it is not.
            hello = fake.answers["PROTOCOLINFO"]
            fake.answers["PROTOCOLINFO"] = ("HTTP/1.1 400 Bad Request",)
            fake.hang_up()
            async with asyncio.timeout(60):
                await _until(lambda: fake.connections >= 2)
                assert "not published" in repr(service)
                fake.answers["PROTOCOLINFO"] = hello
                await _until(lambda: "not published" not in repr(service))
            after = len(_added(fake))

    assert (before, after) == (1, 2)
    assert fake.asked[-1].startswith("DEL_ONION")


# --- doors --------------------------------------------------------------------------


async def test_a_guard_stands_in_what_tor_is_asked(
    fake: FakeControl, pool: Executor, key_file: Path
) -> None:
    guard = Guard.private(["A", "B"])
    async with _service(fake, pool, key_file, guard=guard) as service:
        _tell(fake, service, "UPLOAD $A", "UPLOADED $A")
        async with service:
            assert service.guard == guard

    (added,) = _added(fake)
    assert (
        " Flags=DiscardPK,V3Auth,MaxStreamsCloseCircuit MaxStreams=32"
        " ClientAuthV3=A ClientAuthV3=B Port=5222,127.0.0.1:40000 " in added
    )


async def test_a_tor_without_proof_of_work_publishes_all_the_same(
    fake: FakeControl, pool: Executor, key_file: Path
) -> None:
    async with _service(fake, pool, key_file, guard=Guard.public()) as service:
        _tell(fake, service, "UPLOAD $A", "UPLOADED $A")
        fake.refuse_once("ADD_ONION", '512 Unrecognized keyword "PoWDefensesEnabled"')
        async with service:
            assert not service.guard.asks_for_work

    first, second = _added(fake)
    assert "PoWDefensesEnabled=1" in first
    assert "PoW" not in second
    assert "MaxStreams=32" in second


async def test_another_guard_is_published_in_place_of_the_old_one(
    fake: FakeControl, pool: Executor, key_file: Path
) -> None:
    async with _service(fake, pool, key_file, guard=Guard.private(["A"])) as service:
        _tell(fake, service, "UPLOAD $A", "UPLOADED $A")
        async with service:
            await service.change_guard(Guard.private(["B"]))
            assert "not published" not in repr(service)

    first, second = _added(fake)
    assert "ClientAuthV3=A" in first
    assert "ClientAuthV3=A" not in second
    assert "ClientAuthV3=B" in second
    verbs = [line.split()[0] for line in fake.asked if "_ONION" in line]
    assert verbs == ["ADD_ONION", "DEL_ONION", "ADD_ONION", "DEL_ONION"]


async def test_another_guard_is_tried_until_it_is_published(
    fake: FakeControl,
    pool: Executor,
    key_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onion, "_REPUBLISH_PAUSE", 0)
    async with _service(fake, pool, key_file, guard=Guard.private(["A"])) as service:
        _tell(fake, service, "UPLOAD $A", "UPLOADED $A")
        async with service:
            fake.refuse_once("ADD_ONION", "551 Failed to add")
            await service.change_guard(Guard.private(["B"]))

    assert len(_added(fake)) == 3
    assert "ClientAuthV3=B" in _added(fake)[-1]


async def test_a_guard_that_was_changed_while_tor_was_away_is_the_next_one(
    fake: FakeControl, key_file: Path
) -> None:
    fake.answers["GETINFO"] = (
        "250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=100 TAG=done",
        "250 OK",
    )
    async with FakeSocks() as proxy, Tor.attach(proxy.socks, fake.place) as tor:
        service = tor.onion_service(key_file, {5222: 40000}, guard=Guard.private(["A"]))
        _tell(fake, service, "UPLOAD $A", "UPLOADED $A")
        async with service, asyncio.timeout(60):
            hello = fake.answers["PROTOCOLINFO"]
            fake.answers["PROTOCOLINFO"] = ("HTTP/1.1 400 Bad Request",)
            fake.hang_up()
            await _until(lambda: "not published" in repr(service))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(service.change_guard(Guard.private(["B"])))
                fake.answers["PROTOCOLINFO"] = hello
            await _until(lambda: "ClientAuthV3=B" in _added(fake)[-1])


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the fake has no event for it
        await asyncio.sleep(0.01)


def _added(fake: FakeControl) -> list[str]:
    return [line for line in fake.asked if line.startswith("ADD_ONION")]


async def test_the_key_is_in_no_error(
    fake: FakeControl, pool: Executor, key_file: Path
) -> None:
    fake.answers["ADD_ONION"] = ("512 Invalid arguments",)
    async with _service(fake, pool, key_file) as service:
        error = await _error_of(service)

    assert onion._expanded(service._key) not in repr(error) + repr(service)
    assert "Invalid arguments" in str(error)


async def _error_of(service: OnionService) -> OnionServiceError | None:
    try:
        await service.__aenter__()
    except OnionServiceError as error:
        return error
    return None
