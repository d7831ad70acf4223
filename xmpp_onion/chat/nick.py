"""What is doubtful about a nick: letters nobody sees, mixed scripts, a look-alike.

A nick is no identity, here and anywhere: anybody may take one that is free. But
people read it, so they are told where it seems to be made to deceive. Nothing is
forbidden by this, and a nick without a doubt still proves nothing.

Source: after the ideas of UTS #39, sections 4 and 5.1 (skeletons, restriction
levels); the tables are ours, and only of what looks like a Latin letter or digit.
"""

import unicodedata
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from xmpp_onion.chat.room import RoomState

if TYPE_CHECKING:
    from xmpp_onion.address import JID

__all__ = ["doubt_of", "doubts", "look"]

# Of a nick that is looked at: a server may let one of 1,023 bytes pass.
_LENGTH_LIMIT: Final = 64
# Marks on one letter. Vietnamese and Hebrew have two.
_MARKS_LIMIT: Final = 2
_MARKS: Final = frozenset({"Mn", "Me"})
# Control, format, surrogate, private and unassigned; ends of lines and paragraphs.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Letters and signs to Unicode, and nothing to the eye: fillers of Korean, and the
# cell of Braille without a dot.
_BLANK: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")
# What is written in several scripts anyway: Japanese, Chinese and Korean.
_EASTERN: Final = frozenset(
    {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "BOPOMOFO", "LATIN"}
)
# Letters that look like a Latin one, after they were made small.
_ALIKE: Final = MappingProxyType(
    {
        ord(letter): latin
        for letters, latins in (
            # Cyrillic
            ("авеекмнорстухіјѕһԁԛԝьѵгпӏ", "abeekmhopctyxijshdqwbvrnl"),
            # Greek
            ("αβγεζηικμνορτυχω", "abyeznikuvoptuxw"),
            # Armenian
            ("օսոհցյզքԼ", "ounhgjqpl"),
            # Latin of other alphabets, and of phonetics
            ("ıɑɡɩɪłøđħŧƅʀɴʜᴏᴀᴇ", "iagiilodhtbrnhoae"),
            # digits and signs
            ("0|1!$@", "olllsa"),
        )
        for letter, latin in zip(letters, latins, strict=True)
    }
)
# Capital I is a small l to the eye, so i and l are one letter here.
_LAST: Final = (("i", "l"), ("rn", "m"), ("vv", "w"))
_AROUND: Final = " .,;:'\"`-_~*()[]<>{}"


def look(nick: str) -> str:
    """Return what two nicks have in common that a person may take for each other."""
    text = unicodedata.normalize("NFKD", nick[:_LENGTH_LIMIT]).casefold()
    text = "".join(
        letter
        for letter in text
        if unicodedata.category(letter) not in _UNSEEN | _MARKS and letter not in _BLANK
    )
    text = text.translate(_ALIKE)
    for written, read in _LAST:
        text = text.replace(written, read)
    return " ".join(text.split()).strip(_AROUND)


def doubts(state: RoomState) -> dict[str, str]:
    """Return what is doubtful about the nicks in a room now, by nick, as clauses.

    A nick is doubtful by itself, or because it looks like that of another account
    that is in, or like the name of another member, there or not.
    """
    owners: dict[str, dict[JID | None, str]] = {}
    for jid in filter(lambda each: each.local, state.members):
        owners.setdefault(look(jid.local), {})[jid] = f"the name of {jid}"
    for each in state.occupants.values():
        whose = "that of somebody else" if each.jid is None else f"that of {each.jid}"
        owners.setdefault(look(each.nick), {}).setdefault(each.jid, whose)
    found: dict[str, str] = {}
    for nick, each in state.occupants.items():
        alike = owners[look(nick)]
        others = [whose for jid, whose in alike.items() if jid != each.jid]
        doubt = f"the nick looks like {others[0]}" if others else doubt_of(nick)
        if doubt:
            found[nick] = doubt
    return found


def doubt_of(nick: str) -> str:
    """Return what is doubtful about a nick by itself, as a clause; empty if nothing."""
    if len(nick) > _LENGTH_LIMIT:
        return f"the nick has {len(nick)} letters"
    marks = 0
    for letter in nick:
        category = unicodedata.category(letter)
        is_space = category == "Zs" and letter != " "
        if category in _UNSEEN or is_space or letter in _BLANK:
            return "the nick has letters that nobody sees"
        marks = marks + 1 if category in _MARKS else 0
        if marks > _MARKS_LIMIT:
            return "the nick has marks piled on a letter"
    if not look(nick):
        return "the nick is empty to the eye"
    scripts = {
        _script(letter)
        for letter in unicodedata.normalize("NFKC", nick)
        if unicodedata.category(letter).startswith("L")
    }
    if len(scripts) > 1 and not scripts <= _EASTERN:
        return "the nick mixes the letters of several scripts"
    return ""


def _script(letter: str) -> str:
    """Return the script of a letter: the first word of its name in Unicode."""
    return unicodedata.name(letter, "UNKNOWN").partition(" ")[0]
