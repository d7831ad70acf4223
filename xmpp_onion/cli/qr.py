"""QR codes for a terminal."""

import io

import segno

__all__ = ["qr_code"]


def qr_code(text: str) -> str:
    """Return a QR code in half blocks, for a terminal."""
    picture = io.StringIO()
    segno.make(text, error="l").terminal(picture, compact=True)
    return picture.getvalue()
