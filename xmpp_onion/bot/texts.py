"""What a bot says by itself, in one place, so that it can say it in your language."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from xmpp_onion.bot.arguments import WrongWordError
from xmpp_onion.errors import UsageError

__all__ = ["LANGUAGES", "Texts"]


@dataclass(frozen=True, slots=True)
class Texts:
    """The built-in texts; what stands between braces is filled in.

    ::

        bot = Bot("echo", trust=Trust.PINNED, texts=Texts.of("de"))
        bot = Bot("echo", trust=Trust.PINNED, texts=Texts(unknown="What is {name}?"))

    Attributes:
        usage: What is wrong with the words, and how the command is used.
        unknown: There is no such command; only said to somebody alone with the bot.
        failed: A handler raised; the number leads to the log.
        late: A handler took too long.
        slow_down: Said once when somebody has used up a rate.
        crowded: Too many others are being asked something.
        busy: As many as may be are at it already.
        old: A command that came too late to be done.
        interrupted: A process ended while it did the command.
        help_title: Above the list of commands.
        help_none: There is nothing that the caller may do.
        again: What was answered to a question is not what it has to be.
        form_default: How a parameter of a form is left out.
        form_end: How a form is given up.
        form_ended: It was given up.
        words: What else is said, by what it is in English: what a word of a command
            must be, and what is wrong with all of them.
    """

    usage: str = "{why}. Usage: {usage}"
    unknown: str = "I do not know {name}. Try {help}"
    failed: str = "That did not work; the log knows why: {id}"
    late: str = "That took too long and was ended."
    slow_down: str = "That is too often. Try again in {seconds} s."
    crowded: str = (
        "I am asking too many people something just now. Try again in {seconds} s."
    )
    busy: str = "I am at that already. Try again in a moment."
    old: str = "That is {minutes} minutes old, so I did not do it. Say it again."
    interrupted: str = (
        "I was ended while I did that, and cannot tell whether it was done. "
        "Look, and say it again if it was not."
    )
    help_title: str = "Commands:"
    help_none: str = "There is nothing that you may ask me here."
    again: str = "{why}. Once more, please."
    form_default: str = "{word} leaves it out;"
    form_end: str = "{word} ends this."
    form_ended: str = "Ended; nothing was done."
    words: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, language: str) -> "Texts":
        """Return the texts of a language.

        Args:
            language: A tag as of BCP 47, such as ``de`` or ``de-AT``.

        Raises:
            ValueError: There are none; ``LANGUAGES`` has those that there are.
        """
        tag = language.replace("_", "-").casefold()
        while tag:
            if tag in LANGUAGES:
                return LANGUAGES[tag]
            tag = tag.rpartition("-")[0]
        known = ", ".join(LANGUAGES)
        raise ValueError(f"no texts in {language[:40]!a}; there are: {known}")

    def tell(self, error: UsageError) -> str:
        """Return what is wrong with the words of a command."""
        if not isinstance(error, WrongWordError):
            return self.words.get(error.what, error.what)
        phrase = self.words.get(error.phrase, error.phrase)
        return " ".join(filter(None, (error.name, phrase, error.detail)))


_GERMAN: Final = Texts(
    usage="{why}. So geht es: {usage}",
    unknown="{name} kenne ich nicht. Versuch {help}",
    failed="Das hat nicht geklappt; warum, steht im Protokoll: {id}",
    late="Das hat zu lange gedauert und wurde beendet.",
    slow_down="Das ist zu oft. Versuch es in {seconds} s wieder.",
    crowded="Ich frage gerade zu viele Leute etwas. "
    "Versuch es in {seconds} s wieder.",
    busy="Dabei bin ich schon. Versuch es gleich noch einmal.",
    old="Das ist {minutes} Minuten alt, darum habe ich es nicht getan. "
    "Sag es noch einmal.",
    interrupted="Ich wurde dabei beendet und weiß nicht, ob es getan ist. "
    "Sieh nach, und sag es sonst noch einmal.",
    help_title="Befehle:",
    help_none="Hier gibt es nichts, worum du mich bitten darfst.",
    again="{why}. Bitte noch einmal.",
    form_default="{word} lässt es weg;",
    form_end="{word} bricht ab.",
    form_ended="Abgebrochen; es wurde nichts getan.",
    words={
        "is missing": "fehlt",
        "there is more than it takes": "da steht mehr, als hingehört",
        "must be a whole number": "muss eine ganze Zahl sein",
        "must be a number": "muss eine Zahl sein",
        "must be yes or no": "muss ja (yes) oder nein (no) sein",
        "must be a time such as 2026-05-17T09:30":
            "muss eine Zeit wie 2026-05-17T09:30 sein",
        "must be a duration such as 90s, 5m, 2h30m or 3d":
            "muss eine Dauer wie 90s, 5m, 2h30m oder 3d sein",
        "must be an address:": "muss eine Adresse sein:",
        "must be one of": "muss eines hiervon sein:",
        "is no path": "ist kein Pfad",
        "lies outside of what may be asked for": "liegt außerhalb des Erlaubten",
    },
)  # fmt: skip

LANGUAGES: Final[Mapping[str, Texts]] = {"en": Texts(), "de": _GERMAN}
"""The texts that there are, by the tags of their languages."""
