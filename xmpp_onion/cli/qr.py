"""QR codes for a terminal."""

import io

import segno

__all__ = ["qr_code", "qr_svg"]


def qr_code(text: str) -> str:
    """Return a QR code in half blocks, for a terminal."""
    picture = io.StringIO()
    segno.make(text, error="l").terminal(picture, compact=True)
    return picture.getvalue()


def qr_svg(text: str) -> str:
    """Return a QR code as an SVG element, to stand inside a page."""
    code = segno.make(text, error="l", micro=False)
    return code.svg_inline(scale=4, dark="#000", light="#fff")
