"""What a command's words become."""

import enum
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import JID
from xmpp_onion.bot.arguments import can_read, parse, within
from xmpp_onion.bot.handlers import plan
from xmpp_onion.errors import UsageError
from xmpp_onion.testing.fake_world import ONION


class Colour(enum.Enum):
    RED = 1
    DARK_GREEN = 2


def twice(text: str) -> str:
    return text * 2


async def takes_int(a: int) -> None: ...
async def takes_float(a: float) -> None: ...
async def takes_bool(a: bool) -> None: ...  # noqa: FBT001 - it is what is read
async def takes_str(a: str) -> None: ...
async def takes_duration(a: timedelta) -> None: ...
async def takes_time(a: datetime) -> None: ...
async def takes_jid(a: JID) -> None: ...
async def takes_enum(a: Colour) -> None: ...
async def takes_literal(a: Literal["x", 1]) -> None: ...
async def takes_optional(a: int | None = None) -> None: ...
async def takes_list(a: list[int]) -> None: ...
async def takes_own(a: Annotated[str, twice]) -> None: ...
async def takes_rest(a: int, *, rest: str) -> None: ...
async def takes_rest_or_none(*, rest: str = "") -> None: ...
async def takes_two(a: str, b: str = "-") -> None: ...


def read(handler: Callable[..., Awaitable[None]], text: str) -> dict[str, object]:
    return parse(plan(handler, reads_text=True).arguments, text)


@pytest.mark.parametrize(
    ("handler", "text", "value"),
    [
        (takes_int, "-7", -7),
        (takes_float, "1.5e3", 1500.0),
        (takes_bool, "Yes", True),
        (takes_bool, "off", False),
        (takes_str, '"two words"', "two words"),
        (takes_str, "'it is \"so\"'", 'it is "so"'),
        (takes_str, r'"a \"quote\" and \\"', 'a "quote" and \\'),
        (takes_str, "don't", "don't"),
        (takes_duration, "2h30m", timedelta(hours=2.5)),
        (takes_time, "2026-05-17T09:30", datetime(2026, 5, 17, 9, 30, tzinfo=UTC)),
        (
            takes_time,
            "2026-05-17T09:30+02:00",
            datetime(2026, 5, 17, 7, 30, tzinfo=UTC),
        ),
        (takes_jid, f"xmpp:bob@{ONION}/phone", JID(f"bob@{ONION}")),
        (takes_enum, "dark_green", Colour.DARK_GREEN),
        (takes_literal, "1", 1),
        (takes_optional, "", None),
        (takes_optional, "3", 3),
        (takes_list, "1 2 3", [1, 2, 3]),
        (takes_own, "ab", "abab"),
    ],
)
def test_a_word_becomes_what_its_parameter_says(
    handler: Callable[..., Awaitable[None]], text: str, value: object
) -> None:
    assert read(handler, text) == {"a": value}


@pytest.mark.parametrize(
    ("handler", "text", "why"),
    [
        (takes_int, "1.5", "a must be a whole number"),
        (takes_int, "9" * 101, "a must be a whole number"),
        (takes_int, "१", "a must be a whole number"),  # a digit to Python's int
        (takes_float, "nan", "a must be a number"),
        (takes_float, "inf", "a must be a number"),
        (takes_bool, "maybe", "a must be yes or no"),
        (takes_duration, "5", "a must be a duration"),
        (takes_duration, "9999999w", "a must be a duration"),
        (takes_time, "noon", "a must be a time"),
        (takes_jid, "bob@example.org", "a must be an address"),
        (takes_enum, "blue", "a must be one of red, dark_green"),
        (takes_literal, "2", "a must be one of x, 1"),
        (takes_list, "1 x", "a must be a whole number"),
        (takes_list, "1 " * 1001, "there is more than it takes"),
        (takes_int, "", "a is missing"),
        (takes_int, "1 2", "there is more than it takes"),
    ],
)
def test_what_is_typed_wrong_is_said(
    handler: Callable[..., Awaitable[None]], text: str, why: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read(handler, text)
    assert caught.value.what.startswith(why)


def test_a_keyword_takes_the_rest_as_it_was_typed() -> None:
    assert read(takes_rest, ' 1  "disk"  swap \n full ') == {
        "a": 1,
        "rest": '"disk"  swap \n full',
    }
    assert read(takes_rest_or_none, "  ") == {"rest": ""}


@given(st.text(), st.text())
def test_words_in_quotes_come_back_as_they_were(first: str, second: str) -> None:
    quoted = [
        '"' + each.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for each in (first, second)
    ]
    assert read(takes_two, " ".join(quoted)) == {"a": first, "b": second}


@given(st.text(max_size=200))
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    for handler in (takes_int, takes_two, takes_list, takes_jid, takes_time):
        with suppress(UsageError):
            read(handler, text)


# --- paths ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.txt", "sub/a.txt", "./sub/../a.txt", "."])
def test_a_path_stays_within_its_folder(tmp_path: Path, name: str) -> None:
    assert within(tmp_path)(name) == (tmp_path / name).resolve()


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "sub/../../x", "out/x", "a\0b"]
)
def test_a_path_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "out").symlink_to("/etc")
    with pytest.raises(ValueError, match=r"outside|no path"):
        within(folder)(name)


# --- what a handler may want ---------------------------------------------------------


@pytest.mark.parametrize("kind", [int, str, JID, Colour, Literal["a"], int | None])
def test_these_types_are_read_from_the_text(kind: object) -> None:
    assert can_read(kind)


@pytest.mark.parametrize("kind", [object, dict, int | str, bytes, Path])
def test_these_types_are_not(kind: object) -> None:
    assert not can_read(kind)


async def no_type(a) -> None: ...  # type: ignore[no-untyped-def] # noqa: ANN001 - that is it
async def more(*a: int) -> None: ...
async def behind(a: list[int], b: int) -> None: ...
async def two_rests(*, a: str, b: str) -> None: ...
def not_async(a: int) -> None: ...


@pytest.mark.parametrize("handler", [no_type, more, behind, two_rests, not_async])
def test_a_handler_that_could_never_be_called_is_refused(
    handler: Callable[..., Awaitable[None]],
) -> None:
    with pytest.raises(TypeError):
        plan(handler, reads_text=True)


def test_a_type_that_is_known_in_a_function_alone_is_said_so() -> None:
    class Local:
        pass

    async def handler(a: "Local") -> None: ...

    with pytest.raises(TypeError, match="define it there"):
        plan(handler, reads_text=True)


def test_a_usage_line_says_what_may_be_left_out() -> None:
    shown = [each.usage for each in plan(takes_rest, reads_text=True).arguments]
    assert shown == ["<a>", "<rest…>"]
    assert inspect.signature(takes_rest).parameters["rest"].kind is (
        inspect.Parameter.KEYWORD_ONLY
    )
