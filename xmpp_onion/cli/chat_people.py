"""The people of a talk: who they are, whose devices are believed, and what they see."""

import shlex
from collections.abc import Awaitable, Callable, Mapping

from xmpp_onion.account import parse_recipient
from xmpp_onion.address import JID
from xmpp_onion.cli.chat_talk import Talk
from xmpp_onion.cli.chat_words import Typed
from xmpp_onion.cli.compare import hidden, is_ending, match
from xmpp_onion.cli.devices import grouped
from xmpp_onion.cli.output import visible
from xmpp_onion.e2ee import Device, Trust
from xmpp_onion.errors import UsageError

__all__ = ["PEOPLE"]


async def _go_to(talk: Talk, typed: Typed) -> None:
    (jid,) = typed.words(1, 1)
    talk.go_to(parse_recipient(jid))


async def _who(talk: Talk, typed: Typed) -> None:
    typed.words(0, 0)
    to = talk.place()
    state = talk.client.room(to).state
    people = sorted(state.members) if state is not None else [to]
    for person in people:
        if person.bare == talk.client.jid.bare:
            continue
        words = sorted(one.trust.word for one in await _devices_of(talk, person))
        talk.show(f"  {visible(person)}: {', '.join(words) or 'no device known'}")
    for jid, count in talk.unread.most_common():
        talk.show(f"  {count} unread from {visible(jid)}: /to {visible(jid)}")


async def _devices_of(talk: Talk, person: JID) -> list[Device]:
    return [one for one in await talk.client.devices(person) if one.active]


def _person(talk: Talk) -> JID:
    """Return whom the person writes to, who is one and no room."""
    to = talk.place()
    if talk.client.room(to).state is not None:
        raise UsageError("this is a room", fix="Say whom: /to JID; /who names all.")
    return to


async def _devices(talk: Talk, typed: Typed) -> None:
    typed.words(0, 0)
    for device in await _devices_of(talk, _person(talk)):
        talk.show(f"  {grouped(device.fingerprint)}  {device.trust.word}")
    talk.show("Compare them over another way: /verify says how.")


async def _verify(talk: Talk, typed: Typed) -> None:
    owner = _person(talk)
    if not typed.text:
        await _ask_for_ending(talk, owner)
        return
    digits = typed.text
    if is_ending(digits):
        known = [one.fingerprint for one in await _devices_of(talk, owner)]
        digits = match(known, digits, visible(owner))
    device = await talk.client.verify(owner, digits)
    talk.show(f"You believe {device.fingerprint[:8]}… of {visible(device.jid)}.")


async def _ask_for_ending(talk: Talk, owner: JID) -> None:
    devices = await _devices_of(talk, owner)
    for device in devices:
        talk.show(f"  {hidden(device.fingerprint)}  {device.trust.word}")
    if not devices:
        raise UsageError(
            f"{owner} shows us no device",
            fix="They have to log in once with a program that speaks OMEMO.",
        )
    talk.show(
        "Call, or meet: let them read you the last two groups from their screen, and "
        "type them behind /verify. On theirs: /trust, or xmpp-onion devices list"
    )


async def _distrust(talk: Talk, typed: Typed) -> None:
    device = await talk.client.distrust(_person(talk), typed.text)
    talk.show(f"Nothing is sent to {device.fingerprint[:8]}… any more.")


async def _trust(talk: Talk, typed: Typed) -> None:
    """Show whom we believe here and why, and our own key to read out; or set it."""
    words = typed.words(0, 1)
    policy = talk.client.trust
    if words:
        kinds = [*map(str, Trust), "default"]
        if words[0] not in kinds:
            raise UsageError("there is no such policy", why=", ".join(kinds))
        chosen = None if words[0] == "default" else Trust.parse(words[0])
        policy = await talk.client.set_policy(_person(talk), chosen)
    talk.show(f"  {grouped(talk.client.fingerprint)}  this device of yours")
    if talk.to is None:
        talk.show(f"New devices: {policy}.")
        return
    if talk.client.room(talk.to).state is None:
        policies = await talk.client.notary.policies()
        policy = policies.get(talk.to.bare, policy)
        for device in await _devices_of(talk, talk.to):
            talk.show(f"  {grouped(device.fingerprint)}  {device.trust.word}")
    talk.show(f"New devices of {visible(talk.to)}: {policy}. /trust POLICY changes it.")


async def _contacts(talk: Talk, typed: Typed) -> None:
    words = typed.words(0, 2)
    changes: dict[str, Callable[[str], Awaitable[None]]] = {
        "add": talk.client.add_contact,
        "accept": talk.client.accept_contact,
        "refuse": talk.client.refuse_contact,
        "remove": talk.client.remove_contact,
        "block": talk.client.block,
    }
    if words:
        if len(words) != 2 or words[0] not in changes:
            raise UsageError(f"it is used as /{typed.usage}")
        await changes[words[0]](parse_recipient(words[1]))
        talk.show(f"Done: {words[0]} {visible(words[1])}.")
        return
    people = await talk.client.contacts()
    talk.people = {each.jid for each in people}
    talk.names.know(talk.people)
    for each in people:
        talk.show(f"  {visible(each.jid)}")
    if not people:
        talk.show("You have none: /contacts add JID")
    for request in (await talk.client.requests()).waiting:
        jid = visible(request.sender)
        talk.show(f"  {jid} asks: /contacts accept {shlex.quote(jid)}")


async def _typing(talk: Talk, typed: Typed) -> None:
    if (is_on := _switch(typed)) is not None:
        await talk.courtesy.allow_typing(is_on=is_on)
        if is_on and talk.to is not None:
            talk.courtesy.went_to(talk.to)
    may = "may" if talk.courtesy.tells_typing else "may not"
    talk.show(f"Contacts {may} see when you write. (Servers see then that you begin.)")


async def _seen(talk: Talk, typed: Typed) -> None:
    if (is_on := _switch(typed)) is not None:
        await talk.courtesy.allow_seen(is_on=is_on)
    may = "may" if talk.courtesy.tells_seen else "may not"
    talk.show(f"Contacts {may} see what you were shown.")


def _switch(typed: Typed) -> bool | None:
    words = typed.words(0, 1)
    if words and words[0] not in {"on", "off"}:
        raise UsageError(f"it is used as /{typed.usage}")
    return words[0] == "on" if words else None


PEOPLE: Mapping[str, Callable[[Talk, Typed], Awaitable[None]]] = {
    "to": _go_to,
    "who": _who,
    "devices": _devices,
    "verify": _verify,
    "distrust": _distrust,
    "trust": _trust,
    "contacts": _contacts,
    "typing": _typing,
    "seen": _seen,
}
"""Each command, and what does it."""
