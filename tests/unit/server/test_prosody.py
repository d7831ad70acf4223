"""The configuration as text."""

import re
from pathlib import Path

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import ServerError
from xmpp_onion.server.options import Options
from xmpp_onion.server.ports import Ports
from xmpp_onion.server.prosody import describe, find_templates, render

ONION = OnionAddress.from_public_key(bytes(32))
OPTIONS = Options(ports=Ports(20001, 20002, 20003, 20004, 20005))
NAMES = describe(ONION, OPTIONS)


@pytest.fixture
def template(root: Path) -> str:
    return (root / "prosody-config" / "prosody.cfg.lua").read_text("utf-8")


def strip_comments(config: str) -> str:
    return re.sub(r"--.*", "", config)


def test_every_placeholder_is_filled_in(template: str) -> None:
    text = strip_comments(render(template, NAMES))

    assert "@" not in text
    assert f'VirtualHost "{ONION}"' in text
    assert f'Component "muc.{ONION}" "muc"' in text
    assert re.search(r"c2s_ports += \{ 20001 \}", text)
    assert re.search(r"\bhttp_ports += \{ 20002 \}", text)
    assert re.search(r"\bhttps_ports += \{ 20003 \}", text)


def test_rendering_changes_placeholders_and_nothing_else(template: str) -> None:
    text = render(template, {name: f"<<{name}>>" for name in NAMES})

    for name in NAMES:
        text = text.replace(f"<<{name}>>", f"@{name}@")
    assert text == template


def test_an_unknown_placeholder_is_an_error() -> None:
    with pytest.raises(ServerError, match="@NOBODY@"):
        render("x = @NOBODY@", NAMES)


def test_peers_are_the_inside_of_a_lua_table() -> None:
    other = OnionAddress.from_public_key(bytes([1] * 32))
    names = describe(ONION, Options(peers=(ONION, other)))

    assert names["PEERS"] == " ".join(f'"{peer}";' for peer in sorted([ONION, other]))
    assert NAMES["PEERS"] == ""


def test_an_installed_package_carries_the_templates(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "xmpp_onion" / "server"
    (package / "prosody-config").mkdir(parents=True)
    (package / "prosody-config" / "prosody.cfg.lua").touch()

    assert find_templates(package) == package / "prosody-config"


def test_a_checkout_has_the_templates_at_its_top(root: Path) -> None:
    found = find_templates(root / "xmpp_onion" / "server")

    assert found == root / "prosody-config"


def test_missing_templates_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="missing"):
        find_templates(tmp_path / "xmpp_onion" / "server")


def test_the_wheel_takes_the_templates_where_they_are_looked_for(root: Path) -> None:
    project = (root / "pyproject.toml").read_text("utf-8")

    assert '"prosody-config" = "xmpp_onion/server/prosody-config"' in project


@pytest.mark.parametrize(
    "setting",
    [
        'interfaces += { "127.0.0.1" }',
        'http_interfaces += { "127.0.0.1" }',
        'local_interfaces += { "127.0.0.1" }',
        "use_ipv6 += false",
        's2s_ports += { federation ~= "off" and @S2S_PORT@ or nil }',
        'modules_disabled += { federation == "off" and "s2s" or nil }',
        "allow_unencrypted_plain_auth += false",
        "registration_invite_only += true",
        "registration_allowlist += { }",
        'password_hash += "SHA-256"',
    ],
)
def test_what_keeps_the_server_closed_is_said(template: str, setting: str) -> None:
    name, _, value = setting.partition(" += ")

    pattern = rf"^{name} += {re.escape(value)}$"
    assert re.search(pattern, re.sub(r" *--.*", "", template), re.MULTILINE)


@pytest.mark.parametrize(
    "module",
    [
        "version", "uptime", "time", "lastactivity", "register_limits",
        "cloud_notify", "proxy65", "bosh", "websocket", "admin_telnet", "announce",
        "s2s", "motd", "watchregistrations", "server_contact_info",
    ],
)  # fmt: skip
def test_modules_that_tell_too_much_are_off(template: str, module: str) -> None:
    text = strip_comments(template)
    enabled = text[text.index("modules_enabled") : text.index("modules_disabled")]

    assert f'"{module}"' not in enabled


def test_every_module_of_ours_is_enabled(template: str, root: Path) -> None:
    for path in (root / "prosody-config" / "modules").glob("mod_*.lua"):
        name = path.stem.removeprefix("mod_")
        # Prosody finds mod_auth_x by `authentication = "x"`.
        assert f'"{name.removeprefix("auth_")}"' in template


def test_ten_messages_a_second_to_a_room_of_a_hundred_pass_the_ceiling(
    template: str,
) -> None:
    quantity, unit = re.findall(r'c2s = \{ rate = "(\d+)([km])b/s" \}', template)[0]
    rate = int(quantity) * {"k": 10**3, "m": 10**6}[unit]
    message_bytes = 100 * 2 * 325  # 65 kB: every device hears from us first

    # Between reads of 8 kB Prosody does all its other work, in time that is lost.
    assert rate >= 2 * 10 * message_bytes
