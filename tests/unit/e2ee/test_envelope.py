"""What is inside an encrypted message."""

from xml.etree import ElementTree as ET

from xmpp_onion.e2ee import Plain


def test_content_does_not_show_itself() -> None:
    plain = Plain("CANARY", (ET.Element("CANARY"),))

    assert "CANARY" not in repr(plain)
