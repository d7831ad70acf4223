"""What a bot says by itself, in one place, so that it can say it in your language."""

from dataclasses import dataclass

__all__ = ["Texts"]


@dataclass(frozen=True, slots=True)
class Texts:
    """The built-in texts; what stands between braces is filled in.

    ::

        bot = Bot("echo", trust=Trust.PINNED, texts=Texts(unknown="Kenne ich nicht."))

    Attributes:
        usage: What is wrong with the words, and how the command is used.
        unknown: There is no such command; only said to somebody alone with the bot.
        failed: A handler raised; the number leads to the log.
        late: A handler took too long.
        slow_down: Said once when somebody has used up a rate.
        old: A command that came too late to be done.
        interrupted: A process ended while it did the command.
        help_title: Above the list of commands.
        help_none: There is nothing that the caller may do.
        again: What was answered to a question is not what it has to be.
    """

    usage: str = "{why}. Usage: {usage}"
    unknown: str = "I do not know {name}. Try {help}"
    failed: str = "That did not work; the log knows why: {id}"
    late: str = "That took too long and was ended."
    slow_down: str = "That is too often. Try again in {seconds} s."
    old: str = "That is {minutes} minutes old, so I did not do it. Say it again."
    interrupted: str = (
        "I was ended while I did that, and cannot tell whether it was done. "
        "Look, and say it again if it was not."
    )
    help_title: str = "Commands:"
    help_none: str = "There is nothing that you may ask me here."
    again: str = "{why}. Once more, please."
