"""What follows on a command's name, read by the annotations of its handler.

There is no shell and no evaluation: words are split at blanks, quotes keep words
together, and each word becomes what its parameter says, or the caller is told how
the command is used.
"""

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, Union, get_args, get_origin

from xmpp_onion.address import JID
from xmpp_onion.durations import read_duration
from xmpp_onion.errors import InvalidJIDError, UsageError

__all__ = [
    "Argument",
    "Parser",
    "WrongWordError",
    "can_read",
    "parse",
    "read_argument",
    "within",
]

Parser: TypeAlias = Callable[[str], object]
"""Makes a value of a word; raises ``ValueError``, whose text the caller is shown."""

# One word: in double or single quotes, with a backslash before what is meant as it
# stands, or up to the next blank.
_WORD: Final = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'|(\S+)", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_YES: Final = frozenset({"yes", "y", "true", "on", "1"})
_NO: Final = frozenset({"no", "n", "false", "off", "0"})
# Longer numbers take a time to read that grows with their square.
_DIGITS: Final = 100
_WORDS: Final = 1000  # of a list


class WrongWordError(UsageError):
    """A word of a command is not what it has to be.

    Attributes:
        name: Of the parameter.
        phrase: What is wrong, as it can be said in another language.
        detail: What follows on it in every language.
    """

    def __init__(self, name: str, phrase: str, detail: str = "") -> None:
        self.name = name
        self.phrase = phrase
        self.detail = detail
        super().__init__(" ".join(filter(None, (name, phrase, detail))))


@dataclass(frozen=True, slots=True)
class Argument:
    """One parameter of a command that is read from the text.

    Attributes:
        name: As in the handler, without a trailing underscore.
        key: As in the handler.
        parser: Reads one word.
        default: What stands for a word that is missing; ``inspect.Parameter.empty``
            if it must be there.
        is_list: It takes all words that are left.
        is_rest: It takes the rest as it was typed.
        choices: What may stand there, for the usage line; empty if there is no list.
    """

    name: str
    key: str
    parser: Parser
    default: object = inspect.Parameter.empty
    is_list: bool = False
    is_rest: bool = False
    choices: tuple[str, ...] = ()

    @property
    def is_required(self) -> bool:
        """Whether the command cannot do without."""
        return self.default is inspect.Parameter.empty

    @property
    def usage(self) -> str:
        """How it looks in a usage line."""
        shown = "|".join(self.choices) or self.name
        shown += "…" if self.is_list or self.is_rest else ""
        return f"<{shown}>" if self.is_required else f"[{shown}]"


# --- from annotations --------------------------------------------------------------


def can_read(annotation: object) -> bool:
    """Tell whether a parameter of that type is read from the text."""
    return _find_parser(annotation) is not None


def read_argument(parameter: inspect.Parameter, annotation: object) -> Argument:
    """Return how a parameter is read.

    Raises:
        TypeError: Nothing is known about its type.
    """
    is_list = get_origin(annotation) in {list, Sequence}
    inner = (get_args(annotation) or (str,))[0] if is_list else annotation
    parser = _find_parser(inner)
    if parser is None:
        raise TypeError(f"nothing reads the parameter {parameter.name}: {annotation}")
    return Argument(
        name=parameter.name.rstrip("_"),
        key=parameter.name,
        parser=parser,
        default=parameter.default,
        is_list=is_list,
        is_rest=parameter.kind is inspect.Parameter.KEYWORD_ONLY and not is_list,
        choices=_choices(inner),
    )


def _find_parser(annotation: object) -> Parser | None:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        own = [each for each in parts[1:] if callable(each)]
        return own[0] if own else _find_parser(parts[0])
    if origin is Literal:
        return _one_of({str(each): each for each in parts})
    if origin in {Union, types.UnionType}:
        inner = [each for each in parts if each is not types.NoneType]
        return _find_parser(inner[0]) if len(inner) == 1 else None
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _one_of({each.name.lower(): each for each in annotation})
    return _PARSERS.get(annotation) if isinstance(annotation, type) else None


def _choices(annotation: object) -> tuple[str, ...]:
    parser = _find_parser(annotation)
    return tuple(parser.choices) if isinstance(parser, _OneOf) else ()


@dataclass(frozen=True, slots=True)
class _OneOf:
    """Reads one of some words, in either case; knows them, for the help."""

    choices: Mapping[str, object]

    def __call__(self, text: str) -> object:
        for name, value in self.choices.items():
            if name.casefold() == text.casefold():
                return value
        raise ValueError("must be one of", ", ".join(self.choices))


def _one_of(choices: Mapping[str, object]) -> Parser:
    return _OneOf(choices)


# --- the parsers -------------------------------------------------------------------


def _read_int(text: str) -> int:
    if len(text) > _DIGITS or not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError("must be a whole number")
    return int(text)


def _read_float(text: str) -> float:
    if len(text) > _DIGITS or not re.fullmatch(
        r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", text
    ):
        raise ValueError("must be a number")
    return float(text)


def _read_bool(text: str) -> bool:
    word = text.casefold()
    if word not in _YES | _NO:
        raise ValueError("must be yes or no")
    return word in _YES


def _read_time(text: str) -> datetime:
    """Return a time in ISO 8601; without a zone it is UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a time such as 2026-05-17T09:30") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _read_duration(text: str) -> timedelta:
    try:
        return read_duration(text)
    except ValueError:
        raise ValueError("must be a duration such as 90s, 5m, 2h30m or 3d") from None


def _read_jid(text: str) -> JID:
    try:
        return JID(text.removeprefix("xmpp:")).bare
    except InvalidJIDError as error:
        raise ValueError("must be an address:", error.why) from None


_PARSERS: Final[Mapping[type, Parser]] = {
    str: str,
    int: _read_int,
    float: _read_float,
    bool: _read_bool,
    timedelta: _read_duration,
    datetime: _read_time,
    JID: _read_jid,
}


def within(folder: Path) -> Parser:
    """Return a parser of paths that stay below ``folder``, whatever is typed.

    ::

        async def report(path: Annotated[Path, within(Path("reports"))]) -> None: ...

    Links are followed first, so none leads out either. Between reading the path and
    opening the file the folder has to belong to people whom the bot trusts.
    """

    def read(text: str) -> Path:
        top = folder.resolve()
        if "\0" in text:
            raise ValueError("is no path")
        path = (top / text).resolve()
        if top != path and top not in path.parents:
            raise ValueError("lies outside of what may be asked for")
        return path

    return read


# --- reading -----------------------------------------------------------------------


def parse(arguments: Sequence[Argument], text: str) -> dict[str, object]:
    """Return what the words of ``text`` say, by the names of the parameters.

    Raises:
        UsageError: A word is missing, too many, or not what it has to be.
    """
    found: dict[str, object] = {}
    for argument in arguments:
        text = text.strip() if argument.is_rest else text.lstrip()
        if not text:
            if argument.is_required:
                raise WrongWordError(argument.name, "is missing")
            found[argument.key] = argument.default
        elif argument.is_rest:
            found[argument.key], text = _convert(argument, text), ""
        elif argument.is_list:
            words = _split(text)
            found[argument.key] = [_convert(argument, word) for word in words]
            text = ""
        else:
            word, text = _take_word(text)
            found[argument.key] = _convert(argument, word)
    if text.strip():
        raise UsageError("there is more than it takes")
    return found


def _convert(argument: Argument, word: str) -> object:
    try:
        return argument.parser(word)
    except ValueError as error:
        phrase, *detail = error.args or (type(error).__name__,)
        texts = [str(each) for each in detail]
        raise WrongWordError(argument.name, str(phrase), " ".join(texts)) from None


def _split(text: str) -> list[str]:
    words: list[str] = []
    while text and len(words) < _WORDS:
        word, text = _take_word(text)
        words.append(word)
        text = text.lstrip()
    if text:
        raise UsageError("there is more than it takes")
    return words


def _take_word(text: str) -> tuple[str, str]:
    found = _WORD.match(text)
    if found is None:  # nothing but blanks is left
        return "", ""
    double, single, plain = found.groups()
    rest = text[found.end() :]
    if double is not None:
        return _ESCAPED.sub(r"\1", double), rest
    return (single if single is not None else typing.cast("str", plain)), rest
