"""What a server offered the last time, so that the next login need not ask.

Through Tor each question costs half a second. What is known is said at once; if it is
no longer so, the login fails, all of this is forgotten, and the next one asks.
"""

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Final, Self

from xmpp_onion.errors import AuthenticationError
from xmpp_onion.session.proof import TOKEN_MECHANISM
from xmpp_onion.session.sasl2 import BIND2, FAST, SASL2, SM
from xmpp_onion.session.scram import MECHANISMS, choose_mechanism
from xmpp_onion.session.tls import needs_tls, offers_tls

__all__ = ["Remembered"]

SASL: Final = "urn:ietf:params:xml:ns:xmpp-sasl"
# Ours, see mod_resumption in prosody-config.
_RESUMPTION: Final = "{urn:xmpp-onion:resumption:0}resumption"
# A token of Prosody has 50 letters. What is longer is not kept.
_TOKEN_LENGTH: Final = 1024


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known of a server.

    Args:
        mechanism: The strongest by which a password was proved; empty is unknown.
        is_current: The rest is as the server said it the last time.
        has_tls: It encrypts where it is asked to.
        needs_tls: It lets nobody in who does not ask it to.
        is_quick: It takes all of a login in one question (SASL2 and Bind 2).
        gives_tokens: It takes tokens instead of a password (FAST).
        acks_inline: Acknowledgements can be part of that question.
        resumes_whole: What is said behind the request for an earlier stream may come in
            pieces. Prosody alone loses the first of them, and counts the second.
        token: Which is as good as the password; empty is none.
    """

    mechanism: str = ""
    is_current: bool = False
    has_tls: bool = False
    needs_tls: bool = False
    is_quick: bool = False
    gives_tokens: bool = False
    acks_inline: bool = False
    resumes_whole: bool = False
    token: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what :meth:`dump` wrote; whatever is wrong with it is forgotten."""
        try:
            values = json.loads(text)
            known = cls(**values)
        except (ValueError, TypeError):
            return cls()
        empty = cls()
        if any(
            type(value) is not type(getattr(empty, name))
            for name, value in values.items()
        ):
            return empty
        return known if known.mechanism in {"", *MECHANISMS} else empty

    def dump(self) -> str:
        """Return it as text, with the token."""
        return json.dumps(asdict(self))

    def learn_tls(self, features: ET.Element) -> Self:
        """Return it with what the server says before it encrypts."""
        return replace(
            self, has_tls=offers_tls(features), needs_tls=needs_tls(features)
        )

    def learn(self, features: ET.Element) -> Self:
        """Return it with what the server says of how one logs in.

        Raises:
            AuthenticationError: Its best way is weaker than the one by which we logged
                in before.
            FeatureMissingError: It has no safe way.
        """
        quick = features.find(f"{{{SASL2}}}authentication")
        inline = None if quick is None else quick.find(f"{{{SASL2}}}inline")
        bind = None if inline is None else inline.find(f"{{{BIND2}}}bind")
        is_quick = bind is not None
        tag = SASL2 if is_quick else SASL
        mechanism = choose_mechanism(_texts(features, f"{{{tag}}}mechanism"))
        self._refuse_weaker(mechanism)
        fast = (
            None if inline is None or not is_quick else inline.find(f"{{{FAST}}}fast")
        )
        tokens = () if fast is None else _texts(fast, f"{{{FAST}}}mechanism")
        acks = inline is not None and inline.find(f"{{{SM}}}sm") is not None
        return replace(
            self,
            mechanism=mechanism,
            is_current=True,
            is_quick=is_quick,
            gives_tokens=is_quick and TOKEN_MECHANISM in tokens,
            acks_inline=is_quick and acks,
            resumes_whole=features.find(_RESUMPTION) is not None,
        )

    def _refuse_weaker(self, mechanism: str) -> None:
        order = list(MECHANISMS)
        if not self.mechanism or order.index(mechanism) <= order.index(self.mechanism):
            return
        raise AuthenticationError(
            "the server offers a weaker way to log in than before",
            why=f"{mechanism} instead of {self.mechanism}",
            fix="Nothing was sent. Ask the operator over another channel whether "
            "that was changed.",
        )

    def lost(self, now: "Remembered") -> Iterator[str]:
        """Yield what the server offered before and does not offer now, in words.

        No way to log in is weaker for it, so it is told and not refused.
        """
        if self.is_quick and not now.is_quick:
            yield "a login in one question (SASL2)"
        if self.gives_tokens and not now.gives_tokens:
            yield "tokens in place of the password (FAST)"

    def forget(self) -> Self:
        """Return what is left when it proved wrong: how weak a login may not be."""
        return type(self)(mechanism=self.mechanism)

    def with_token(self, token: str) -> Self:
        """Return it with another token; with none for one that is too long."""
        return replace(self, token=token if len(token) <= _TOKEN_LENGTH else "")


def _texts(node: ET.Element, tag: str) -> Iterable[str]:
    return [each.text or "" for each in node.iter(tag)]
