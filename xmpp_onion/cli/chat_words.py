"""What is typed in ``chat``: a text to send, or a command behind a slash."""

import shlex
from dataclasses import dataclass

from xmpp_onion.errors import UsageError

__all__ = ["COMMANDS", "Typed", "completed", "read_typed"]

COMMANDS = {
    "to": ("JID", "whom, or which room, you write to"),
    "reply": ("N TEXT", "answer message N"),
    "react": ("N [EMOJI]…", "react to message N; without an emoji take it back"),
    "edit": ("TEXT", "say what your last message should have said"),
    "retract": ("[N]", "take back message N, or your last one"),
    "file": ("PATH", "send a file"),
    "voice": ("PATH", "send a recording as a voice note"),
    "save": ("N [DIR]", "fetch the file of message N"),
    "play": ("N", "play the voice note of message N"),
    "timer": ("DURATION|off", "let what is said here be forgotten after a time"),
    "who": ("", "who is here, whom you believe, and what is unread elsewhere"),
    "trust": ("[POLICY]", "your key and theirs, and what holds for new ones"),
    "devices": ("", "the devices here, with their fingerprints"),
    "verify": ("[GROUPS]", "believe a device that you compared; without groups, how"),
    "distrust": ("FINGERPRINT", "believe it no more"),
    "contacts": ("[add|accept|refuse|remove|block JID]", "your contacts"),
    "typing": ("[on|off]", "whether contacts may see when you write"),
    "seen": ("[on|off]", "whether contacts may see what you were shown"),
    "rooms": ("", "your rooms"),
    "room": ("[create|join|leave|members|invite|accept|kick|ban …]", "the room here"),
    "join": ("ROOM", "go into a room, and write there"),
    "leave": ("", "leave the room"),
    "help": ("", "these lines"),
    "quit": ("", "end; so does Ctrl-D"),
}
"""Commands, with what follows on each and what it does."""


@dataclass(frozen=True, slots=True)
class Typed:
    """What was typed.

    Attributes:
        command: Without the slash; empty for a text to send.
        text: What follows, or the text.
    """

    command: str
    text: str

    def words(self, least: int, most: int) -> list[str]:
        """Return what follows as words, as a shell would split them.

        Raises:
            UsageError: They are too few or too many, or a quote is not closed.
        """
        try:
            words = shlex.split(self.text)
        except ValueError:
            raise UsageError("a quote is not closed", why=self.usage) from None
        if not least <= len(words) <= most:
            raise UsageError(f"it is used as /{self.usage}")
        return words

    def number_and_text(self) -> tuple[int, str]:
        """Return the number of a message, and what follows on it.

        Raises:
            UsageError: There is no number.
        """
        number, _, text = self.text.partition(" ")
        if not number.isascii() or not number.isdecimal() or len(number) > 9:
            raise UsageError(f"it is used as /{self.usage}")
        return int(number), text.strip()

    @property
    def usage(self) -> str:
        """How the command is used, without the slash."""
        return f"{self.command} {COMMANDS[self.command][0]}".strip()


def completed(word: str) -> list[str]:
    """Return the words that may follow on a command at once, one of which it takes."""
    what = COMMANDS[word][0] if word in COMMANDS else ""
    first = what.strip("[]").split(" ")[0]
    return [each for each in first.split("|") if each.islower()]


def read_typed(line: str) -> Typed:
    """Return what a line means; ``//`` at its begin is a text with one slash.

    Raises:
        UsageError: There is no such command.
    """
    if not line.startswith("/") or line.startswith("//"):
        return Typed("", line.removeprefix("/") if line.startswith("//") else line)
    name, _, rest = line[1:].partition(" ")
    found = [each for each in COMMANDS if each == name] or [
        each for each in COMMANDS if name and each.startswith(name)
    ]
    if len(found) != 1:
        raise UsageError(
            f"there is no command /{name[:40]}",
            fix="/help names them all; a text that begins with a slash needs two.",
        )
    return Typed(found[0], rest.strip())
