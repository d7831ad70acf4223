from xmpp_onion.cli.qr import qr_code, qr_svg


def test_a_code_is_a_square_of_half_blocks_that_depends_on_the_text() -> None:
    one, two = qr_code("xmpp:bob?omemo-sid-1=" + "a" * 64), qr_code("xmpp:bob")

    assert one != two
    assert any(block in one for block in "▀▄█")
    assert len(one.splitlines()) > len(two.splitlines()) >= 10


def test_a_picture_for_a_page_loads_nothing_and_has_no_style() -> None:
    picture = qr_svg("xmpp:alice@example.onion?register;preauth=" + "a" * 200)

    assert picture.startswith("<svg ")
    assert not any(
        word in picture for word in ("href", "style", "url(", "script", "<?")
    )
