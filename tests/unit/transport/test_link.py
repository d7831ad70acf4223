from pathlib import Path

from xmpp_onion.transport.dial import Endpoint
from xmpp_onion.transport.link import Link, tail

SOCKS = Endpoint("127.0.0.1", 9050)


def test_the_tail_of_a_log_is_one_line(tmp_path: Path) -> None:
    log = tmp_path / "tor.log"
    log.write_bytes(b"".join(b"line %d \xff\n" % number for number in range(20)))

    assert tail(log).startswith("line 12 \N{REPLACEMENT CHARACTER} | line 13")
    assert tail(log).endswith("line 19 \N{REPLACEMENT CHARACTER}")


def test_a_missing_log_has_no_tail(tmp_path: Path) -> None:
    assert tail(tmp_path / "tor.log") == ""


def test_a_tor_without_control_port_is_never_seen_to_end() -> None:
    assert not Link(SOCKS).has_ended
    assert Link(SOCKS).last_words() == ""
