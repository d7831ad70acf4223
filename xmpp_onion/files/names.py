"""Names that are safe on this disk, made from what strangers write."""

import re
import unicodedata
from typing import Final

__all__ = ["numbered", "safe_name"]

# Bytes. Every file system takes 255; a number and a draft's ending have to fit too.
_NAME_BYTES: Final = 200
# Of these an ending is kept when a name is cut: ".tar.gz", ".opus".
_ENDING_BYTES: Final = 16
_NAMELESS: Final = "file"
# Path separators of any system, and what Windows and shells give a meaning.
_SPECIAL: Final = re.compile(r'[<>:"|?*`$;&\x00-\x1f\x7f]')
# Devices of Windows: a file on a shared disk may be opened there.
_DEVICES: Final = re.compile(
    r"(con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3]"
    r"|conin\$|conout\$|clock\$) *(\..*)?",
    re.IGNORECASE,
)
# Unicode's categories of what cannot be seen, or turns the text around it: a
# "photo[RLO]gpj.exe" shows as "photoexe.jpg".
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def safe_name(name: str) -> str:
    """Return a plain file name: no folder, not hidden, nothing that is not shown.

    Never empty, at most 200 bytes, and the same for every spelling of one name.
    """
    text = unicodedata.normalize("NFC", name[:4096])
    text = re.split(r"[/\\\u2044\u2215\u29f8\uff0f\uff3c]", text)[-1]
    text = "".join(
        each for each in text if unicodedata.category(each) not in _INVISIBLE
    )
    text = " ".join(_SPECIAL.sub("_", text).split())
    text = text.lstrip(".-~ ").rstrip(". ")
    text = _cut(text).rstrip(". ")
    if _DEVICES.fullmatch(text):
        text = f"_{text}"
    return text or _NAMELESS


def numbered(name: str, number: int) -> str:
    """Return ``photo (2).jpg`` for ``photo.jpg`` and 2; the name itself for 1."""
    if number == 1:
        return name
    stem, ending = _split(name)
    return f"{stem} ({number}){ending}"


def _split(name: str) -> tuple[str, str]:
    stem, dot, ending = name.rpartition(".")
    if not stem or len(f".{ending}".encode()) > _ENDING_BYTES:
        return name, ""
    return stem, dot + ending


def _cut(name: str) -> str:
    stem, ending = _split(name)
    room = _NAME_BYTES - len(ending.encode())
    return stem.encode()[:room].decode(errors="ignore") + ending
