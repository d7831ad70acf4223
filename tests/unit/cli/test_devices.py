from xmpp_onion.cli.devices import told


def test_a_fingerprint_is_told_in_groups_and_a_label_is_harmless() -> None:
    text = told(
        {"jid": "bob@x", "device": 7, "fingerprint": "0123456789abcdef" * 4,
         "trust": "tofu", "active": False, "label": "\x1b[2Jlaptop\n"}
    )  # fmt: skip

    first, second, *rest = text.split("\n")
    assert first == r"bob@x 7 (tofu, not in use) \x1b[2Jlaptop"
    assert rest == ["  " + " ".join(["01234567", "89abcdef"] * 4)]
    assert second == "  | "
