"""QR codes for a terminal."""

import io
import shutil
import sys

import segno

__all__ = ["qr_code", "qr_svg", "with_code"]


def with_code(text: str) -> str:
    """Return a link as a person gets it: on a terminal, below its QR code.

    The code is longer than many a terminal; what is copied has to stay in sight.
    Where it is too wide, or its letters cannot be shown, the link is alone.
    """
    if not sys.stdout.isatty():
        return text  # a program wants the link
    code = qr_code(text)
    width = max(map(len, code.splitlines()))
    if width > shutil.get_terminal_size().columns:
        return f"{text}\n(Its QR code needs {width} columns.)"
    try:
        code.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return text
    return code + text


def qr_code(text: str) -> str:
    """Return a QR code in half blocks, for a terminal."""
    picture = io.StringIO()
    segno.make(text, error="l").terminal(picture, compact=True)
    return picture.getvalue()


def qr_svg(text: str) -> str:
    """Return a QR code as an SVG element, to stand inside a page."""
    code = segno.make(text, error="l", micro=False)
    return code.svg_inline(scale=4, dark="#000", light="#fff")
