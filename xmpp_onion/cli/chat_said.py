"""What is said in a talk beside plain texts: answers, changes, files, timers."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path

import click

from xmpp_onion.chat import Attachment
from xmpp_onion.cli.chat_talk import Talk
from xmpp_onion.cli.chat_words import Typed
from xmpp_onion.cli.duration import read_duration
from xmpp_onion.cli.output import visible
from xmpp_onion.cli.player import play
from xmpp_onion.errors import UsageError

__all__ = ["SAID"]


async def _reply(talk: Talk, typed: Typed) -> None:
    number, text = typed.number_and_text()
    one = talk.numbers.find(number)
    if not text:
        raise UsageError(f"it is used as /{typed.usage}")
    await talk.send(one.where, text, reply_to=one.message or one.id)


async def _react(talk: Talk, typed: Typed) -> None:
    number, emojis = typed.number_and_text()
    one = talk.numbers.find(number)
    await talk.client.react(one.where, one.id, *emojis.split())


async def _edit(talk: Talk, typed: Typed) -> None:
    if talk.last is None:
        raise UsageError(
            "you have said nothing yet", fix="Only what was said here can be changed."
        )
    if not typed.text:
        raise UsageError(f"it is used as /{typed.usage}")
    await talk.client.correct(talk.last.where, talk.last.id, typed.text)
    talk.show(f"#{talk.last.number} is now: {visible(typed.text)}")


async def _retract(talk: Talk, typed: Typed) -> None:
    one = talk.last
    if typed.text:
        one = talk.numbers.find(typed.number_and_text()[0])
    if one is None or not one.is_ours:
        raise UsageError(
            "that is no message of yours",
            fix="Give the number of one that `you` stands before.",
        )
    await talk.client.retract(one.where, one.id)
    talk.show(f"#{one.number} is taken back.")


async def _file(talk: Talk, typed: Typed) -> None:
    _send_file(talk, typed, is_voice=False)


async def _voice(talk: Talk, typed: Typed) -> None:
    _send_file(talk, typed, is_voice=True)


def _send_file(talk: Talk, typed: Typed, *, is_voice: bool) -> None:
    (name,) = typed.words(1, 1)
    path, to = _path(name), talk.place()
    path.open("rb").close()  # what cannot be read is said at once

    async def send() -> None:
        kind = "voice" if is_voice else "file"
        try:
            delivery = await talk.client.send_file(
                to, path, progress=talk.progress(path), is_voice=is_voice
            )
        finally:
            talk.arrived(path)
        talk.sent(to, f"[{kind} {path.name}]", delivery)

    talk.beside(send())


def _attachment(talk: Talk, number: int) -> Attachment:
    message = talk.numbers.find(number).message
    if message is None or message.attachment is None:
        raise UsageError(
            f"no file came with message {number}",
            fix="Give the number of one that shows [file: …].",
        )
    return message.attachment


async def _save(talk: Talk, typed: Typed) -> None:
    number, name = typed.number_and_text()
    attachment, folder = _attachment(talk, number), _path(name or ".")

    async def save() -> None:
        saved = await _fetch(talk, attachment, folder)
        talk.show(f"Saved as {visible(str(saved))}")

    talk.beside(save())


async def _play(talk: Talk, typed: Typed) -> None:
    number, rest = typed.number_and_text()
    if rest:
        raise UsageError(f"it is used as /{typed.usage}")
    attachment = _attachment(talk, number)
    talk.beside(play(lambda folder: _fetch(talk, attachment, folder)))


async def _fetch(talk: Talk, attachment: Attachment, folder: Path) -> Path:
    name = Path(attachment.name)
    try:
        return await attachment.save(folder, progress=talk.progress(name))
    finally:
        talk.arrived(name)


async def _timer(talk: Talk, typed: Typed) -> None:
    (word,) = typed.words(1, 1)
    timer = None if word == "off" else _read_timer(word)
    to = talk.place()
    await talk.client.set_timer(to, timer)
    kept = f"for {word}" if timer else "until somebody erases it"
    talk.show(f"What is said to {visible(to)} is kept {kept}.")


def _path(name: str) -> Path:
    return Path(name).expanduser()


def _read_timer(word: str) -> timedelta:
    try:
        return timedelta(seconds=read_duration(word))
    except click.BadParameter as error:
        raise UsageError(error.message) from None


SAID: Mapping[str, Callable[[Talk, Typed], Awaitable[None]]] = {
    "reply": _reply,
    "react": _react,
    "edit": _edit,
    "retract": _retract,
    "file": _file,
    "voice": _voice,
    "save": _save,
    "play": _play,
    "timer": _timer,
}
"""Each command, and what does it."""
