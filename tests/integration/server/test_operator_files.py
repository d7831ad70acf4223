"""The files for operators, used as their README says."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from xmpp_onion.address import Invite, OnionAddress
from xmpp_onion.server.certificate import read_fingerprint
from xmpp_onion.session import register
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.testing.ports import free_ports
from xmpp_onion.transport import Tor

pytestmark = pytest.mark.prosody

# Seconds after which what has not come is an error; never asserted otherwise.
PATIENCE = 60.0
IS_ROOT = os.geteuid() == 0
# Tor makes its keys and the name, and talks to nobody.
OFFLINE = "DisableNetwork 1\n"
# Tor runs and listens, and reaches nobody.
DEAD_NETWORK = (
    "TestingTorNetwork 1",
    f"DirAuthority dead orport=1 v3ident={'A' * 40} 127.0.0.1:1 {'B' * 40}",
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can go through, unlike pytest's."""
    made = Path(tempfile.mkdtemp(prefix="xmpp-onion-files-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def files(root: Path, folder: Path) -> Path:
    """A copy of the files, with ports that are free here and a Tor without network."""
    copy = folder / "files"
    shutil.copytree(root / "prosody-config", copy)
    defaults = (copy / "defaults.env").read_text("utf-8")
    ports = sorted(set(re.findall(r"\b25\d{3}\b", defaults)))
    for port, free in zip(ports, free_ports(len(ports)), strict=True):
        defaults = defaults.replace(port, str(free))
    (copy / "defaults.env").write_text(defaults)
    with (copy / "torrc").open("a") as torrc:
        torrc.write(OFFLINE)
    return copy


def default(files: Path, name: str) -> str:
    text = (files / "defaults.env").read_text("utf-8")
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)[0]


def program(folder: Path, name: str, text: str) -> None:
    """Put a program of ours before the system's of that name."""
    (folder / "bin").mkdir(exist_ok=True)
    path = folder / "bin" / name
    path.write_text("#!/bin/sh\n" + dedent(text))
    path.chmod(0o755)


def environment(folder: Path, **more: str) -> dict[str, str]:
    path = f"{folder}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    return {"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", **more}


def await_change(has_come: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not has_come():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def end_all(pids: list[int]) -> None:
    """End these process groups, and wait until they have."""
    for pid in pids:
        os.killpg(pid, signal.SIGTERM)
    await_change(lambda: not any(map(is_running, pids)))


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


# What systemd would do with a unit, as far as its user, folder and command go. systemd
# itself cannot be had in a test: it wants to be the first process of a machine.
SYSTEMCTL = """
    [ "$1 $2" = "enable --now" ] || exit 0
    unit=$UNITS/$3.service
    of() { sed -n "s/^$1=//p" "$unit"; }
    folder=$(of WorkingDirectory)
    as=
    if [ "$(id -u)" = 0 ]; then
        as="setpriv --reuid=$(of User) --regid=$(of User) --clear-groups"
    fi
    cd "${folder:-/}"
    setsid $as $(of ExecStart) >/dev/null 2>&1 &
    echo $! >>"$UNITS/pids"
"""


@pytest.fixture
def steps_done(files: Path, folder: Path) -> Iterator[str]:
    """Everything that the README says, done; what was printed."""
    readme = (files / "README.md").read_text("utf-8")
    steps = "".join(re.findall(r"^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL))
    units = folder / "units"
    units.mkdir()
    steps = steps.replace("/srv/xmpp", f"{folder}/srv")
    steps = steps.replace("/etc/systemd/system", str(units))
    if not IS_ROOT:
        me = pwd.getpwuid(os.geteuid()).pw_name
        steps = re.sub(r"(-o|-g|chown|chgrp) (prosody|debian-tor)", rf"\1 {me}", steps)
    program(folder, "systemctl", SYSTEMCTL)
    program(folder, "apt-get", "")
    try:
        done = subprocess.run(
            ["/bin/sh", "-euc", steps],
            cwd=files, capture_output=True, text=True, check=False, timeout=PATIENCE,
            env=environment(folder, UNITS=str(units)),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        yield done.stdout
    finally:
        end_all([int(pid) for pid in read(units / "pids").split()])


async def test_the_steps_of_the_readme_make_a_server(
    files: Path, folder: Path, steps_done: str
) -> None:
    onion = OnionAddress(read(folder / "srv/tor/onion/hostname").strip())
    uri = re.findall(r"xmpp:\S+", steps_done)[0]
    dialer = LoopbackDialer(int(default(files, "C2S_PORT")))

    assert Invite(uri).onion == onion
    seen = await register(Invite(uri), "alice", "pw", tor=dialer)

    certificate = (folder / "srv/certs" / f"{onion}.crt").read_bytes()
    assert seen == read_fingerprint(certificate)


def test_the_containers_start_what_they_are_for(files: Path, folder: Path) -> None:
    shared, tor_dir, home = folder / "shared", folder / "tor", folder / "home"
    for path in (shared, tor_dir, home):
        path.mkdir(mode=0o700)
    program(folder, "socat", f'echo "$@" >>{folder}/joined; exec sleep 600')
    places = {"SHARED": str(shared), "FILES": str(files), "TOR_DIR": str(tor_dir)}
    # Prosody does not run as root, and there is no other user to give it to here.
    run = ["setpriv", "--reuid=prosody", "--regid=prosody", "--clear-groups"]
    if IS_ROOT:
        for path in (shared, tor_dir, home, folder / "bin"):
            shutil.chown(path, "prosody", "prosody")
        shutil.chown(folder, "prosody")
    started = [
        subprocess.Popen(
            [*(run if IS_ROOT else []), files / "containers" / name],
            env=environment(folder, **places, DIR=str(home)),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for name in ("tor", "prosody")
    ]  # fmt: skip

    try:
        await_change((home / "data/prosody.sock").exists)
        await_change(lambda: len(read(folder / "joined").splitlines()) == 2)
        assert all(process.poll() is None for process in started)
        onion = OnionAddress(read(shared / "onion").strip())
        assert f'VirtualHost "{onion}"' in read(home / "prosody.cfg.lua")
        assert (home / "certs" / f"{onion}.key").stat().st_mode & 0o777 == 0o600
        door, way_out = sorted(read(folder / "joined").splitlines(), reverse=True)
        assert door.startswith(f"UNIX-LISTEN:{shared}/door,")
        assert door.endswith(f"TCP:127.0.0.1:{default(files, 'C2S_PROXY_PORT')}")
        assert way_out.endswith(f"UNIX-CONNECT:{shared}/socks")
    finally:
        end_all([process.pid for process in started])
        for process in started:
            process.wait(PATIENCE)


def read(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


@pytest.mark.parametrize("entrance", ["127.0.0.1:25223", "unix:/run/xmpp/door"])
@pytest.mark.parametrize("socks", ["0", "unix:/run/xmpp/socks ExtendedErrors"])
def test_tor_accepts_the_torrc_of_the_files(
    root: Path, tmp_path: Path, entrance: str, socks: str
) -> None:
    files = root / "prosody-config"
    filled = subprocess.run(
        [
            files / "fill-in", files / "torrc", f"TOR_DIR={tmp_path}",
            f"ENTRANCE={entrance}", f"SOCKS={socks}",
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (tmp_path / "torrc").write_text(filled.stdout)

    tor = shutil.which("tor")
    assert tor is not None, "tor is not installed"
    found = subprocess.run(
        [tor, "--verify-config", "-f", "torrc", "--defaults-torrc", "/dev/null"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"HOME": str(tmp_path)},
    )  # fmt: skip

    assert found.returncode == 0, found.stdout


def fill_in(template: Path, *pairs: str) -> str:
    command = [template.parent / "fill-in", template, *pairs]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


async def test_each_line_of_the_torrc_is_live_in_tor(
    root: Path, tmp_path: Path
) -> None:
    """Tor forgets what it does not know of a service, so it is asked."""
    files = root / "prosody-config"
    filled = fill_in(files / "torrc", f"TOR_DIR={tmp_path / 'tor'}")
    lines = [line for line in filled.splitlines() if line and not line.startswith("#")]
    ours = [line for line in lines if line.startswith("HiddenService")]

    async with Tor.launch(tmp_path / "tor", extra=(*ours, *DEAD_NETWORK)) as tor:
        control = await tor._daemon.control()
        answer = "\n".join(await control.ask("GETCONF HiddenServiceOptions"))
        # What was set: that many lines, in this order.
        assert re.findall(
            r"^(?:250[- ])?(HiddenService\w+)=(.*)$", answer, re.MULTILINE
        ) == [tuple(line.split(" ", 1)) for line in ours]
    for wanted in ("MaxStreams 32", "MaxStreamsCloseCircuit 1", "PoWDefensesEnabled 1"):
        assert f"HiddenService{wanted}" in ours
    assert "HiddenServiceEnableIntroDoSDefense 1" in ours


async def test_a_tor_of_ours_is_for_us_alone(tmp_path: Path) -> None:
    place = tmp_path / "tor"
    async with Tor.launch(place, extra=DEAD_NETWORK) as tor:
        control = await tor._daemon.control()
        for name, wanted in {
            "CookieAuthentication": "1", "SafeSocks": "1", "ORPort": "",
            "HashedControlPassword": "", "CookieAuthFileGroupReadable": "0",
            "DNSPort": "", "TransPort": "", "HTTPTunnelPort": "", "DirPort": "",
        }.items():  # fmt: skip
            found = "".join(await control.ask(f"GETCONF {name}")).partition("=")[2]
            assert found.strip() in {wanted, wanted or "0"}, name
        socks = "".join(await control.ask("GETCONF SocksPort"))
        for flag in (
            "127.0.0.1:",
            "OnionTrafficOnly",
            "ExtendedErrors",
            "IsolateSOCKSAuth",
        ):
            assert flag in socks
        for kind in ("socks", "control"):
            told = await control.get_info(f"net/listeners/{kind}")
            assert all(each.startswith('"127.0.0.1:') for each in told.split()), told
        for kind in ("dns", "trans", "natd", "or", "dir", "httptunnel"):
            assert await control.get_info(f"net/listeners/{kind}") == ""
        cookie = place / "control_auth_cookie"
        assert cookie.stat().st_mode & 0o077 == 0
        assert place.stat().st_mode & 0o077 == 0
