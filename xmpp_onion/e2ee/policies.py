"""Which policy holds for whom: the account's, unless a contact has one of its own."""

import hashlib
import json
from collections.abc import Mapping
from typing import cast

from xmpp_onion.address import JID
from xmpp_onion.e2ee.storage import KeyStorage
from xmpp_onion.e2ee.trust import Trust
from xmpp_onion.errors import EncryptionError

__all__ = ["Policies"]

_POLICIES = "/xmpp-onion/policies"
# What held for all when this store was used last.
_IN_FORCE = "/xmpp-onion/policy-in-force"


class Policies:
    """The policy of each contact, kept with the keys.

    Args:
        own: Our account: its new devices have to be confirmed under every policy.
        storage: Where they are kept.
        default: The account's policy.
        pins: The fingerprints that are given beforehand.
    """

    def __init__(
        self,
        own: JID,
        storage: KeyStorage,
        default: Trust,
        pins: Mapping[JID, frozenset[str]],
    ) -> None:
        self.default = default
        self._pins = pins
        self._own = own
        self._storage = storage

    async def take_change(self) -> bool:
        """Tell whether the account's policy or a pin is another than at the last call.

        In a transaction.
        """
        digest = self._in_force()
        if (await self._storage.load_primitive(_IN_FORCE, str)).maybe("") == digest:
            return False
        await self._storage.store(_IN_FORCE, digest)
        return True

    async def has_changed(self) -> bool:
        """Tell whether :meth:`take_change` would tell so."""
        before = (await self._storage.load_primitive(_IN_FORCE, str)).maybe("")
        return before != self._in_force()

    def _in_force(self) -> str:
        pins = {jid: sorted(prints) for jid, prints in sorted(self._pins.items())}
        in_force = json.dumps([self.default, pins])
        return hashlib.sha256(in_force.encode()).hexdigest()

    async def of(self, jid: JID) -> Trust:
        """Return what holds for a bare JID."""
        word = (await self._kept()).get(jid)
        return self.default if word is None else Trust(word)

    async def all(self) -> Mapping[JID, Trust]:
        """Return the contacts that have a policy of their own."""
        return {JID(jid): Trust(word) for jid, word in (await self._kept()).items()}

    async def _kept(self) -> dict[str, str]:
        kept = (await self._storage.load(_POLICIES)).maybe({})
        return cast("dict[str, str]", kept)

    async def set(self, jid: JID, policy: Trust | None) -> None:
        """Give a contact a policy of its own; None takes it away. In a transaction.

        Raises:
            EncryptionError: It is our own account.
        """
        if jid.bare == self._own:
            raise EncryptionError(
                "our own account has no policy of its own",
                why="each new device of it has to be confirmed, whatever the policy",
                fix="Leave the JID out to see the account's: xmpp-onion trust policy",
            )
        kept = dict(await self.all())
        kept.pop(jid.bare, None)
        if policy is not None:
            kept[jid.bare] = policy
        await self._storage.store(
            _POLICIES, {str(jid): str(word) for jid, word in sorted(kept.items())}
        )
