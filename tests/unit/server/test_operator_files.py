"""The files for operators who run Prosody and Tor themselves, as text."""

import re
import subprocess
from pathlib import Path

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import ServerError
from xmpp_onion.server import Federation, Options, initialise
from xmpp_onion.server.ports import VIRTUAL_PORTS, Ports
from xmpp_onion.server.prosody import describe, describe_unit, render

ONION = OnionAddress.from_public_key(bytes(32))
PLACEHOLDER = re.compile(r"@([A-Z0-9_]+)@")


@pytest.fixture
def files(root: Path) -> Path:
    return root / "prosody-config"


def fill_in(files: Path, name: str, *pairs: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [files / "fill-in", files / name, *pairs],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def templates(files: Path) -> list[Path]:
    return [files / "prosody.cfg.lua", files / "torrc", *files.glob("systemd/*")]


def test_the_script_fills_in_what_the_tool_does(files: Path) -> None:
    peers = (ONION, OnionAddress.from_public_key(bytes([1] * 32)))
    ports = Ports(20001, 20002, 20003, 20004, 20005)
    options = Options(federation=Federation.LISTED, peers=peers, ports=ports)
    names = describe(ONION, options)
    template = files / "prosody.cfg.lua"

    done = fill_in(files, template.name, *(f"{k}={v}" for k, v in names.items()))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == render(template.read_text("utf-8"), names)


def test_every_name_but_the_onions_has_a_default(files: Path) -> None:
    for path in templates(files):
        if path.name == "xmpp-onion.service":
            continue  # the tool alone fills it in
        done = fill_in(files, str(path.relative_to(files)), f"ONION={ONION}")
        assert (done.returncode, done.stderr) == (0, "")
        assert not PLACEHOLDER.search(done.stdout)


def test_a_name_that_is_left_is_an_error(files: Path) -> None:
    done = fill_in(files, "prosody.cfg.lua")

    assert (done.returncode, done.stdout) == (1, "")
    assert "needs a value for @ONION@" in done.stderr


def test_a_value_is_taken_as_it_is(files: Path, tmp_path: Path) -> None:
    odd = r"a&b|c\d @ONION@"
    (tmp_path / "file").write_text("x @USER@ y @USER@\n")

    done = fill_in(files, str(tmp_path / "file"), f"USER={odd}", f"ONION={ONION}")

    once = r"a&b|c\d"
    assert done.stdout.startswith(f"x {once} ")


def test_the_torrc_has_the_ports_of_the_tool(files: Path) -> None:
    text = (files / "torrc").read_text("utf-8")

    ports = re.findall(r"^HiddenServicePort (\d+) @ENTRANCE@$", text, re.MULTILINE)
    assert {int(port) for port in ports} == set(VIRTUAL_PORTS)


@pytest.mark.parametrize("name", ["onion-prosody", "onion-tor", "xmpp-onion"])
def test_a_unit_is_hardened(files: Path, name: str) -> None:
    text = (files / "systemd" / f"{name}.service").read_text("utf-8")
    settings = re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)

    for wanted in (
        ("NoNewPrivileges", "yes"), ("PrivateTmp", "yes"), ("PrivateDevices", "yes"),
        ("ProtectSystem", "strict"), ("LimitNOFILE", "65536"), ("LimitCORE", "0"),
        ("RestrictSUIDSGID", "yes"), ("RestrictNamespaces", "yes"),
        ("ProtectKernelModules", "yes"), ("SystemCallFilter", "@system-service"),
        ("Restart", "on-failure"), ("UMask", "0077"),
    ):  # fmt: skip
        assert wanted in settings
    assert {"User", "MemoryMax", "ReadWritePaths"} <= {key for key, _ in settings}


def test_the_kernel_holds_prosody_to_loopback(files: Path) -> None:
    lines = (files / "systemd" / "onion-prosody.service").read_text().splitlines()

    assert {"IPAddressDeny=any", "IPAddressAllow=localhost"} <= set(lines)
    assert "RestrictAddressFamilies=AF_UNIX AF_INET" in lines
    assert {"CapabilityBoundingSet=", "ReadWritePaths=@DIR@/data"} <= set(lines)


def test_a_server_has_its_unit(files: Path, tmp_path: Path) -> None:
    initialise(tmp_path)

    unit = (tmp_path / "xmpp-onion.service").read_text("utf-8")

    assert f"server up {tmp_path}\n" in unit
    assert f"ReadWritePaths={tmp_path}\n" in unit
    template = (files / "systemd" / "xmpp-onion.service").read_text("utf-8")
    names = describe_unit(tmp_path, re.findall("User=(.*)", unit)[0])
    assert unit == render(template, names)


@pytest.mark.parametrize(
    ("folder", "word"),
    [
        ("/srv/chat", "/srv/chat"),
        ("/srv/my chat", '"/srv/my chat"'),
        ("/srv/100%", "/srv/100%%"),
        ('/srv/"x"\\', '"/srv/\\"x\\"\\\\"'),
    ],
)
def test_a_folder_is_one_word_for_systemd(folder: str, word: str) -> None:
    assert describe_unit(Path(folder), "chat")["DIR"] == word


def test_the_containers_publish_nothing_and_prosody_has_no_network(
    files: Path,
) -> None:
    text = (files / "compose.yaml").read_text("utf-8")
    services = text[text.index("  tor:") : text.index("networks:\n")]
    tor, prosody = services.split("\n  prosody:\n")

    assert not re.search(r"^\s*(ports|expose|privileged|devices):", text, re.MULTILINE)
    assert "    network_mode: none\n" in prosody
    assert "networks: [outside]" in tor
    for service in (tor, prosody):
        assert "cap_drop: [ALL]" in service
        assert "no-new-privileges:true" in service
        assert "read_only: true" in service


def test_what_the_images_are_made_of_is_there(files: Path) -> None:
    text = (files / "Dockerfile").read_text("utf-8")

    copied = re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE)
    assert copied
    for name in " ".join(copied).split():
        assert (files / name).exists()
    assert {"USER debian-tor", "USER prosody"} <= set(text.splitlines())
    assert re.search(r"^FROM debian:[a-z]+-slim AS base$", text, re.MULTILINE)
    targets = re.findall(r"^FROM base AS (\w+)$", text, re.MULTILINE)
    assert targets == re.findall(
        r"target: (\w+)", (files / "compose.yaml").read_text("utf-8")
    )


def test_the_readme_names_every_file(files: Path) -> None:
    text = (files / "README.md").read_text("utf-8")

    for path in files.rglob("*"):
        if path.is_file() and path.suffix != ".md":
            name = path.relative_to(files).as_posix()
            known = (name, path.name, f"{name.split('/')[0]}/")
            assert any(f"`{each}`" in text for each in known) or "modules" in name


def test_a_template_with_an_unknown_name_is_an_error() -> None:
    with pytest.raises(ServerError, match="@NOBODY@"):
        render("@NOBODY@", describe_unit(Path("/srv"), "x"))
