"""What the directories of Tor tell of an onion service: read back, as its guests do.

Source: control-spec, HSFETCH and HS_DESC; rend-spec-v3, sections 2.5 and 3; for the
proof of work, proposal 327.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Final

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import OnionNotFoundError
from xmpp_onion.transport.control import Control

__all__ = ["Published", "look_up"]

# Seconds for the directories to answer, each of up to eight: two circuits of relays
# that are slow, one after the other.
_PATIENCE: Final = 60.0
# Seconds after a refusal in which another directory may still answer.
_SETTLE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Published:
    """What is published of an onion service.

    Attributes:
        is_readable: Whether anybody can read more than that it is there; not behind a
            door for those who have a key.
        has_work: Whether a flood is asked for work. Of what is not readable, nobody
            can tell: False.
        introductions: At how many points it can be met; 0 of what is not readable.
    """

    is_readable: bool
    has_work: bool = False
    introductions: int = 0


async def look_up(control: Control, onion: OnionAddress) -> Published:
    """Fetch a service's descriptor from the directories, and read it.

    Args:
        control: Of a Tor that has its network.
        onion: The service.

    Raises:
        OnionNotFoundError: No directory has it, or none answers in time.
        ControlPortError: This Tor does not fetch any.
        TorNotRunningError: It has ended.
    """
    name = onion.service.removesuffix(".onion")
    async with control.events("HS_DESC") as events:
        await control.ask(f"HSFETCH {name}")
        await _received(events, name, onion)
    return _read(await control.get_info(f"hs/client/desc/id/{name}"), onion)


async def _received(
    events: asyncio.Queue[str | None], name: str, onion: OnionAddress
) -> None:
    why, asked = "none of them answered in time", Counter[str]()
    try:
        async with asyncio.timeout(_PATIENCE) as limit:
            while (event := await events.get()) is not None:
                # HS_DESC Action HSAddress AuthType HsDir [DescriptorID] [REASON=…]
                _, action, service, _, directory, *details = [*event.split(), *[""] * 5]
                if service != name:
                    continue
                if action == "RECEIVED":
                    return
                asked[directory] += {"REQUESTED": 1, "FAILED": -1}.get(action, 0)
                if action == "FAILED":
                    why = next((d for d in details if d.startswith("REASON=")), why)
                    if not asked.total():
                        limit.reschedule(asyncio.get_running_loop().time() + _SETTLE)
            why = "Tor ended meanwhile"
    except TimeoutError:
        pass
    raise OnionNotFoundError(
        f"no directory has {onion.short}",
        host=onion.short,
        can_retry=True,
        why=why,
        fix="It is published some seconds after its start; if it stays away, start it "
        "again, and look into Tor's log.",
    )


def _read(text: str, onion: OnionAddress) -> Published:
    # It takes long to load, and nothing else needs it.
    from stem.descriptor.hidden_service import (  # noqa: PLC0415
        HiddenServiceDescriptorV3,
    )

    try:
        found = HiddenServiceDescriptorV3.from_str(text.strip() + "\n")
        inner = found.decrypt(onion.service)
    except ValueError:  # it is encrypted for those who have a key
        return Published(is_readable=False)
    words = [line.split(" ")[0] for line in str(inner).splitlines()]
    return Published(
        is_readable=True,
        has_work="pow-params" in words,
        introductions=words.count("introduction-point"),
    )
