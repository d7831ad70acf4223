"""What a bot says by itself, in several languages."""

import string
from dataclasses import fields

import pytest

from xmpp_onion.bot import Bot, Texts
from xmpp_onion.bot.texts import LANGUAGES
from xmpp_onion.e2ee import Trust
from xmpp_onion.testing import FakeServer


def blanks(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_says_all_and_fills_in_the_same(language: str) -> None:
    for each in fields(Texts):
        if each.name != "words":
            there = getattr(LANGUAGES[language], each.name)
            assert blanks(there) == blanks(getattr(Texts(), each.name)), each.name
            assert language == "en" or there != getattr(Texts(), each.name)


def test_the_nearest_language_is_found() -> None:
    assert Texts.of("de-AT").help_title == "Befehle:"
    assert Texts.of("de_CH.UTF-8".partition(".")[0]).help_title == "Befehle:"
    assert Texts.of("EN") == Texts()
    with pytest.raises(ValueError, match="there are: en, de"):
        Texts.of("tlh")


async def test_what_is_wrong_with_a_word_is_said_in_it_too() -> None:
    bot = Bot("test", trust=Trust.PINNED, texts=Texts.of("de"))

    @bot.command
    async def add(a: int, b: int = 1) -> str:
        return str(a + b)

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        for words, answer in {
            "!add": "a fehlt. So geht es: !add <a> [b]",
            "!add zwei": "a muss eine ganze Zahl sein. So geht es: !add <a> [b]",
            "!add 1 2 3": "da steht mehr, als hingehört. So geht es: !add <a> [b]",
            "!sub": "!sub kenne ich nicht. Versuch !help",
        }.items():
            await alice.send(words)
            assert alice.last == answer


def test_each_word_that_is_translated_is_said_somewhere() -> None:
    from xmpp_onion.bot import arguments  # noqa: PLC0415 - its text is what is looked at

    assert arguments.__file__ is not None
    with open(arguments.__file__, encoding="utf-8") as file:  # noqa: PTH123 - as above
        source = file.read()
    for phrase in LANGUAGES["de"].words:
        assert f'"{phrase}"' in source, phrase
