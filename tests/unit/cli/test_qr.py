from xmpp_onion.cli.qr import qr_code


def test_a_code_is_a_square_of_half_blocks_that_depends_on_the_text() -> None:
    one, two = qr_code("xmpp:bob?omemo-sid-1=" + "a" * 64), qr_code("xmpp:bob")

    assert one != two
    assert any(block in one for block in "▀▄█")
    assert len(one.splitlines()) > len(two.splitlines()) >= 10
