"""Who we are: one login, in as few questions as the server allows.

What is known of the server is used before it has said anything: the first flight goes
out with the request for the connection. A server that was never seen is asked first.
What it offers is looked at only where this package wants something; nothing it offers
besides is taken up.

Source: RFC 6120; XEP-0388, XEP-0386 and XEP-0484 (:mod:`.sasl2`); XEP-0198.
"""

import logging
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol
from xml.sax.saxutils import escape

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.errors import (
    FeatureMissingError,
    SessionError,
    StreamViolationError,
)
from xmpp_onion.session.client_xmpp import SM, OnionClient, read_count
from xmpp_onion.session.hope import Hope
from xmpp_onion.session.moved import raise_if_moved
from xmpp_onion.session.proof import PasswordProof, Proof, TokenProof
from xmpp_onion.session.questions import (
    expect,
    require_answer,
    sasl_element,
    stanza_error,
    unexpected,
    write_request,
)
from xmpp_onion.session.remembered import SASL, Remembered
from xmpp_onion.session.sasl2 import (
    SASL2,
    Success,
    decode,
    enable,
    encode,
    make_question,
    read_bound,
    read_success,
    require_own,
    resume,
)
from xmpp_onion.session.scram import Scram
from xmpp_onion.session.stream_limits import read_limit
from xmpp_onion.session.tls import START_TLS, needs_tls, require_tls, start_tls
from xmpp_onion.session.wire import Connection, Wire, stream_header
from xmpp_onion.transport import Isolation

__all__ = ["Attempt", "Credentials", "Dialer", "Login"]

log = logging.getLogger(__name__)

BIND: Final = "urn:ietf:params:xml:ns:xmpp-bind"
# Eight round trips over a slow circuit, with room.
LOGIN_TIMEOUT: Final = 90.0
DIAL_TIMEOUT: Final = 60.0


class Dialer(Protocol):
    """What a session needs of Tor; the tests have one that stays on loopback."""

    async def dial(
        self,
        address: OnionAddress,
        port: int,
        *,
        isolation: Isolation,
        timeout: float = DIAL_TIMEOUT,
        first: bytes = b"",
    ) -> Connection:
        """Connect to an onion service, send ``first``, and return the socket."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in, and what the server has to show.

    Args:
        jid: The account.
        password: Never sent; SCRAM proves it.
        certificate: SHA-256 of the server's certificate in hex; empty takes any
            and reports it, for trust on first use.
        tls: False leaves encryption to the onion service alone, where the server lets
            people in so.
    """

    jid: JID
    password: str = field(repr=False)
    certificate: str = ""
    tls: bool = True


@dataclass(frozen=True, slots=True)
class Login:
    """How a login went.

    Args:
        resumed: The earlier stream goes on.
        certificate: What the server showed; empty without TLS.
        early: Stanzas that came before counting began.
        stanza_limit: Bytes of one stanza that the server takes; None if it did not
            say.
        said: So many of the stanzas that waited were said with it.
    """

    resumed: bool
    certificate: str = ""
    early: list[ET.Element] = field(default_factory=list)
    stanza_limit: int | None = None
    said: int = 0


class Attempt:
    """One login: its first flight, and what follows on the connection.

    There is one attempt to prove a password, and nothing weaker after it.

    Args:
        client: What goes online; it knows what may be resumed.
        who: Who logs in.
        known: What is known of the server.

    Attributes:
        first: What is said first.
        known: What is known of the server by now.
        is_decided: The server has let us in.
    """

    def __init__(
        self, client: OnionClient, who: Credentials, known: Remembered
    ) -> None:
        self._client = client
        self._who = who
        self._handled = client.incoming.handled
        self._proof: Proof | None = None
        self._hope = Hope(client)
        self._resuming = ""
        if client.resume_id:
            self._resuming = resume(client.resume_id, self._handled)
        self.known = known
        self.is_decided = self._is_quick = False
        self._begins_with_tls = who.tls or known.needs_tls
        if self._begins_with_tls:
            ask = START_TLS if known.has_tls else ""
            self.first = stream_header(who.jid.domain) + ask
        else:
            self.first = self._introduction()

    @property
    def is_open(self) -> bool:
        """Whether what was said may let us in after we have given it up."""
        return self._proof is not None and not self.is_decided

    async def run(self, wire: Wire, *, was_said: bool) -> Login:
        """Take a fresh connection through login, to a resumed or a new session.

        Args:
            wire: The connection.
            was_said: The server has :attr:`first` already.

        Raises:
            AuthenticationError: The server refuses us, or is an impostor.
            CertificateError: It shows another certificate; nothing was sent.
            FeatureMissingError: It lacks TLS, SCRAM-SHA-256 or XEP-0198.
            MovedError: It has another name now.
            SessionError: Anything that another attempt may cure.
        """
        if not was_said:
            wire.write(self.first)
        features, certificate = await wire.read_features(), ""
        if self._begins_with_tls or needs_tls(features):
            certificate = await self._encrypt(wire, features)
            features = await wire.read_features()
        self._look_at(features)
        if self._proof is None:
            self._prove(wire.write)
        login = await (self._in_one(wire) if self._is_quick else self._in_steps(wire))
        wire.is_let_in = True
        return replace(login, certificate=certificate, said=self._hope.said)

    # --- what is said -----------------------------------------------------------

    def _introduction(self) -> str:
        """Return the header of a stream, and who we are where we know how to say it."""
        parts = [stream_header(self._who.jid.domain, self._who.jid.bare)]
        if self.known.is_current:
            self._prove(parts.append)
        return "".join(parts)

    def _prove(self, say: Callable[[str], None]) -> None:
        known, jid = self.known, self._who.jid
        self._is_quick = known.is_quick
        if known.token and known.gives_tokens and known.is_quick:
            self._proof = TokenProof(jid.local, known.token)
        else:
            scram = Scram(known.mechanism, jid.local, self._who.password)
            self._proof = PasswordProof(scram)
        if not known.is_quick:
            say(
                f"<auth xmlns='{SASL}' mechanism='{self._proof.mechanism}'>"
                f"{encode(self._proof.first())}</auth>"
            )
            return
        is_token = isinstance(self._proof, TokenProof)
        inline = known.acks_inline
        say(
            make_question(
                self._proof,
                device=self._client.requested_jid.resource,
                wants_token=known.gives_tokens and not is_token,
                resuming=self._resuming if inline else "",
                binds=inline or not self._resuming,
                acks=inline,
            )
        )
        if is_token:
            say(self._acks + self._say_hope())

    @property
    def _acks(self) -> str:
        """What is said behind a proof where the server takes it only behind it."""
        if self.known.acks_inline:
            return ""
        return self._resuming or enable()

    def _say_hope(self, *, asks: bool = True) -> str:
        if self._resuming and not self.known.resumes_whole:
            return ""
        return self._hope.say(resuming=bool(self._resuming), asks=asks)

    # --- what is heard ----------------------------------------------------------

    async def _encrypt(self, wire: Wire, features: ET.Element) -> str:
        """Begin with TLS; return the certificate that was shown."""
        was_asked = self._begins_with_tls and self.known.has_tls
        if self._proof is not None:
            raise _other_than_before()
        require_tls(features)
        self.known = self.known.learn_tls(features)
        if not was_asked:
            wire.write(START_TLS)
        who = self._who
        shown = await start_tls(wire, who.jid.domain, who.certificate)
        wire.restart()
        wire.write(self._introduction())
        return shown

    def _look_at(self, features: ET.Element) -> None:
        """See whether what was said is what the server can do."""
        before = self.known
        self.known = before.learn(features)
        for lost in before.lost(self.known):
            log.warning("the server does not offer %s any more; ask its operator", lost)
        was_wrong = (before.mechanism, before.is_quick, before.acks_inline) != (
            self.known.mechanism,
            self.known.is_quick,
            self.known.acks_inline,
        )
        if self._proof is not None and was_wrong:
            raise _other_than_before()

    async def _in_steps(self, wire: Wire) -> Login:
        """Log in by SASL, and bind.

        Source: RFC 6120, sections 6 and 7.
        """
        proof = self._prover
        challenge = decode((await sasl_element(wire, SASL, "challenge")).text)
        answer = encode(await proof.answer(challenge))
        wire.write(f"<response xmlns='{SASL}'>{answer}</response>")
        proof.verify(decode((await sasl_element(wire, SASL, "success")).text))
        self.is_decided = True
        wire.restart()
        wire.write(stream_header(self._who.jid.domain))
        request = ""
        if self._resuming:
            # Who resumes nothing may close the stream at a question for acks.
            wire.write(self._resuming + self._say_hope(asks=False))
        else:
            request = self._bind(wire)
            wire.write(self._say_hope())
        features = await wire.read_features()
        raise_if_moved(features, self._who.jid.domain)
        _require_acks(features)
        if not request:
            if self._take_resumption(await wire.next_element()):
                return Login(resumed=True, stanza_limit=read_limit(features))
            request = self._bind(wire)
        await self._take_bound(wire, request)
        return await self._take_enabled(wire, features)

    async def _in_one(self, wire: Wire) -> Login:
        """Log in by SASL2, which brings the rest along."""
        success = await self._hear_success(wire)
        self.is_decided = True
        self.known = self.known.with_token(success.token or self.known.token)
        resumption = success.resumption
        if resumption is not None and self._take_resumption(resumption):
            # What the server sends again may come before its features.
            return Login(resumed=True)
        features = await wire.read_features()
        raise_if_moved(features, self._who.jid.domain)
        if success.enabled is None:
            _require_acks(features)
        if success.is_bound:
            if self._resuming and resumption is None:
                self._client.forget_stream(said=self._hope.said)
            self._client.take_bound(read_bound(success.who, self._who.jid))
        elif self._resuming and not self.known.acks_inline:
            if self._take_resumption(await wire.next_element()):
                return Login(resumed=True, stanza_limit=read_limit(features))
            await self._take_bound(wire, self._bind(wire))
        else:
            raise SessionError("the server gives us no resource")
        if success.enabled is None:
            return await self._take_enabled(wire, features)
        self._client.resume_id = _read_enabled(success.enabled)
        return Login(resumed=False, stanza_limit=read_limit(features))

    async def _hear_success(self, wire: Wire) -> Success:
        """Prove who we are, by the password if the token is not good any more."""
        answer = await wire.next_element()
        if answer.tag == f"{{{SASL2}}}failure" and isinstance(self._proof, TokenProof):
            answer = await self._prove_again(wire)
        proof = self._prover
        if answer.tag == f"{{{SASL2}}}challenge":
            final = encode(await proof.answer(decode(answer.text)))
            wire.write(f"<response xmlns='{SASL2}'>{final}</response>")
            wire.write(self._acks + self._say_hope())
            answer = await wire.next_element()
        success = read_success(expect(answer, SASL2, "success"))
        proof.verify(success.shown)
        require_own(success.who.partition("/")[0], self._who.jid)
        return success

    async def _prove_again(self, wire: Wire) -> ET.Element:
        log.info("session: the token is not good any more; the password is proved")
        self.known = self.known.with_token("")
        has_acks = bool(self._acks)
        self._hope.fail()
        self._prove(wire.write)
        answer = await wire.next_element()
        if has_acks and answer.tag == f"{{{SM}}}failed":
            # The answer to what went behind the token.
            answer = await wire.next_element()
        while self._hope.takes_refusal(answer):
            answer = await wire.next_element()
        return answer

    @property
    def _prover(self) -> Proof:
        assert self._proof is not None  # noqa: S101 - run() saw to it
        return self._proof

    # --- the session --------------------------------------------------------------

    def _take_resumption(self, answer: ET.Element) -> bool:
        """Go on with the earlier stream; False if the server has forgotten it.

        Raises:
            StreamViolationError: The server claims what cannot be; the earlier
                stream is given up.
        """
        client = self._client
        if answer.tag == f"{{{SM}}}failed":
            if not self.known.acks_inline:
                self._hope.fail()  # no other stream has begun
            client.forget_stream(read_count(answer), said=self._hope.said)
            return False
        try:
            if answer.tag != f"{{{SM}}}resumed":
                raise unexpected(answer)
            if self._hope.said and read_count(answer) != client.outgoing.acknowledged:
                raise unexpected(answer)  # nothing was on its way
            client.take_ack(answer)
        except StreamViolationError:
            client.forget_stream()
            raise
        client.resumed_at(self._handled)
        return True

    def _bind(self, wire: Wire) -> str:
        """Ask for a resource and for acknowledgements; return the request's id."""
        # What Bind 2 made of our name, if that was how we came to it.
        resource = escape(self._client.boundjid.resource)
        request_id = write_request(
            wire, f"<bind xmlns='{BIND}'><resource>{resource}</resource></bind>"
        )
        wire.write(enable())
        return request_id

    async def _take_bound(self, wire: Wire, request_id: str) -> None:
        answer = await wire.next_element()
        while self._hope.takes_refusal(answer):
            answer = await wire.next_element()
        require_answer(answer, request_id)
        if answer.get("type") != "result":
            raise SessionError(
                "the server gives us no resource", why=stanza_error(answer)
            )
        text = answer.findtext(f"{{{BIND}}}bind/{{{BIND}}}jid", "")
        self._client.take_bound(read_bound(text, self._who.jid))

    async def _take_enabled(self, wire: Wire, features: ET.Element) -> Login:
        early: list[ET.Element] = []
        while not (answer := await wire.next_element()).tag.startswith(f"{{{SM}}}"):
            early.append(answer)
        self._client.resume_id = _read_enabled(answer)
        return Login(resumed=False, early=early, stanza_limit=read_limit(features))


def _other_than_before() -> StreamViolationError:
    return StreamViolationError(
        "the server logs people in by another way than before",
        condition="undefined-condition",
        why="it was set up anew",
        fix="It is tried again by itself.",
    )


def _require_acks(features: ET.Element) -> None:
    if features.find(f"{{{SM}}}sm") is None:
        raise FeatureMissingError(
            "the server does not acknowledge messages",
            feature="XEP-0198",
            fix='The operator adds "smacks" to modules_enabled of Prosody.',
        )


def _read_enabled(answer: ET.Element) -> str:
    """Return what the stream can be resumed by; empty if it cannot."""
    if answer.tag != f"{{{SM}}}enabled":
        raise SessionError("the server would not acknowledge messages")
    can_resume = answer.get("resume") in {"true", "1"}
    return answer.get("id", "") if can_resume else ""
