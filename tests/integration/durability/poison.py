"""Messages that no reader can digest, each in its own way; any server keeps them."""

_OMEMO = "eu.siacs.conversations.axolotl"
_OMEMO_2 = "urn:xmpp:omemo:2"


def poisons(to: str) -> list[str]:
    """Return one stanza of each kind for an account."""
    insides = [
        # A key that is none, for nobody.
        (
            f"<encrypted xmlns='{_OMEMO}'><header sid='1'><key rid='1'>AAAA</key>"
            "<iv>AAAA</iv></header><payload>AAAA</payload></encrypted>"
        ),
        # Numbers and base64 that are neither, in the newer version.
        (
            f"<encrypted xmlns='{_OMEMO_2}'><header sid='-1'><keys jid='{to}'>"
            "<key rid='x'>!</key></keys></header><payload>*</payload></encrypted>"
        ),
        "",  # in the clear
        f"<x xmlns='urn:x'>{'<a/>' * 25_000}</x>",
        f"<x xmlns='urn:x'><a b='{'x' * 70_000}'/></x>",
    ]
    return [
        f"<message type='chat' id='poison{number}' to='{to}'><body>poison</body>"
        f"{inside}<store xmlns='urn:xmpp:hints'/></message>"
        for number, inside in enumerate(insides)
    ]
