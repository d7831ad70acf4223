"""Accounts over a real onion: made, refused, removed."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.onion.cli.conftest import Person, World


pytestmark = pytest.mark.onion


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    return path


def test_an_invite_makes_an_account_without_a_question(
    world: "World", alice: "Person"
) -> None:
    done = world.run("--profile", "alice", "account", "list", "--json")

    assert done.code == 0
    (line,) = [one for one in done.lines if one["profile"] == "alice"]
    assert line["jid"] == alice.jid == f"alice@{world.onion}"
    assert len(alice.fingerprint) == 64


def test_a_used_invite_exits_with_6_and_leaves_no_profile(world: "World") -> None:
    invite = world.invite()
    first = world.run("--profile", "first", "account", "add", "--invite", invite)
    used = world.run(
        "--profile", "second", "account", "add", "--invite", invite, "--json"
    )

    (line,) = used.lines
    assert first.code == 0, first.err
    assert (used.code, line["code"]) == (6, 6)
    assert "invite" in f"{line['what']} {line['why']}"
    assert not (world.data / "second").exists()
    assert world.run("--profile", "first", "account", "remove", "--yes").code == 0
    assert not (world.data / "first").exists()


def test_an_expired_invite_exits_with_6_and_leaves_no_profile(world: "World") -> None:
    server = (
        "import asyncio, datetime, pathlib, sys\n"
        "from xmpp_onion.server import create_invite\n"
        "life = datetime.timedelta(seconds=1)\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "print(asyncio.run(create_invite(folder, lifetime=life)))\n"
        "__import__('time').sleep(1.5)"
    )
    invite = world.python("-c", server, str(world.server)).out.strip()

    late = world.run(
        "--profile", "late", "account", "add", "--invite", invite, "--json"
    )

    (line,) = late.lines
    assert (late.code, line["code"]) == (6, 6), line
    assert not (world.data / "late").exists()


def test_an_account_is_taken_up_with_its_password(
    world: "World", carol: "Person", secret: Path
) -> None:
    secret.write_text(carol.password + "\n")

    done = world.run(
        "--profile", "carol2", "account", "add", carol.jid,
        "--password-file", str(secret), "--json",
    )  # fmt: skip

    (line,) = done.lines
    assert done.code == 0, done.err
    assert (line["jid"], line["trust"]) == (carol.jid, "btbv")
    assert line["fingerprint"] != carol.fingerprint
    assert (
        'certificate = ""' not in (world.data / "carol2" / "account.toml").read_text()
    )  # the first connection pinned it
    assert world.run("--profile", "carol2", "account", "remove", "--yes").code == 0


def test_a_wrong_password_exits_with_6_and_leaves_no_profile(
    world: "World", carol: "Person", secret: Path
) -> None:
    secret.write_text("not-the-password\n")

    done = world.run(
        "--profile", "wrong", "account", "add", carol.jid,
        "--password-file", str(secret), "--json",
    )  # fmt: skip

    (line,) = done.lines
    assert (done.code, line["code"]) == (6, 6)
    assert line["fix"]
    assert not (world.data / "wrong").exists()
    assert "not-the-password" not in done.out + done.err


def test_another_certificate_than_the_pinned_one_exits_with_6(
    world: "World", carol: "Person", secret: Path
) -> None:
    secret.write_text(carol.password)

    done = world.run(
        "--profile", "wrong", "account", "add", carol.jid, "--cert-sha256", "ab" * 32,
        "--password-file", str(secret), "--json",
    )  # fmt: skip

    (line,) = done.lines
    assert (done.code, line["code"]) == (6, 6)
    assert "certificate" in str(line["what"])
    assert not (world.data / "wrong").exists()


def test_an_onion_of_nobody_exits_with_3_and_leaves_no_profile(world: "World") -> None:
    nobody = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"
    invite = f"xmpp:{nobody}?register;preauth=ZmFrZXRva2VuZm9ydGVzdA"

    done = world.run("--profile", "x", "account", "add", "--invite", invite, "--json")

    (line,) = done.lines
    assert (done.code, line["code"]) == (3, 3)
    assert not (world.data / "x").exists()
