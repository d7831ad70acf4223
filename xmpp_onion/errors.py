"""Every error of this package.

Each says what failed, why, and how to mend it; none carries a password, a key
or a message. Catch a branch, not a leaf, unless you do something special::

    XmppOnionError
    ├── AddressError (also ValueError)
    │   ├── InvalidOnionAddressError
    │   ├── InvalidJIDError
    │   ├── InvalidInviteError
    │   └── InvalidMoveError           what says that a server moved is no good
    ├── TorError
    │   ├── TorNotFoundError           no tor program on this machine
    │   ├── TorNotRunningError         nothing answers at the SOCKS or control port
    │   ├── ControlPortError           tor's control port does not let us in
    │   ├── BootstrapError             tor runs and does not reach the network
    │   ├── OnionServiceError          our own onion service could not be published
    │   └── DialError                  Tor could not reach a service; ``reply``
    │       ├── OnionNotFoundError     0xF0
    │       ├── OnionUnreachableError  0xF1, 0xF2, 0xF3, 0xF7
    │       ├── ClientAuthorizationError   0xF4, 0xF5
    │       └── DialTimeoutError
    ├── SessionError
    │   ├── AuthenticationError        wrong user name or password
    │   ├── RegistrationError          the invite is used, expired or unknown
    │   ├── CertificateError           the server shows another certificate
    │   ├── FeatureMissingError        the server lacks a XEP that we need
    │   ├── DeliveryFailedError        a message was accepted and cannot arrive
    │   ├── MovedError                 the server has another name now
    │   ├── NotAcknowledgedError       the server did not confirm a message in time
    │   ├── RoomError                  a room refused, or is not what it should be
    │   ├── StampError                 a server asks a stranger for too much work
    │   ├── StreamViolationError       the server breaks the rules of the stream
    │   └── SessionLostError           given up; the cause is chained
    │       ├── DuplicateDeviceError   a copy of the account is in use elsewhere
    │       └── ReaderFaultError       a mistake of ours ends each connection
    ├── EncryptionError
    │   ├── NoDevicesError             the recipient has no device to encrypt for
    │   ├── UndecidedDevicesError      somebody has to decide about devices first
    │   ├── InvalidFingerprintError    not 64 hex digits
    │   ├── InvalidLabelError          a device's name that is too long
    │   ├── FingerprintMismatchError   a scanned code contradicts what was verified
    │   ├── DeviceListError            a device list or bundle could not be had
    │   └── DecryptionError
    ├── BotError
    │   ├── RateLimitedError           a command is used too often
    │   │   └── CrowdedError           too many people are asked at the moment
    │   └── UsageError                 a command was not typed as it has to be
    ├── FileError
    │   ├── FileChangedError           it changed while it was sent
    │   ├── FileDamagedError           what came is not what was sent
    │   ├── FileTooLargeError          larger than the server or caller allows
    │   │   └── DiskFullError          larger than what the disk has left
    │   └── TransferError              the server refused it, or breaks the rules
    ├── ConfigurationError             a setting that is unknown, or that cannot be
    ├── StoreError
    │   ├── AccountNotFoundError       the profile has no account
    │   ├── StoreLockedError           another process holds the account
    │   ├── StoreKeyError              encrypted, and not with what was given
    │   ├── StoreTooNewError           written by a newer version
    │   ├── StoreFullError             the disk has no room for it
    │   ├── StorePermissionError       a file others can read or write
    │   └── StoreCorruptError
    ├── UnknownMessageError            none of ours has that id
    ├── TokenError                     no such token, or none can be made so
    │   └── TokenRefusedError          it is not good for what was asked
    ├── ServerError
    │   ├── ProsodyNotFoundError       no prosody program on this machine
    │   └── ProsodyError               it ended, or does not listen
    └── BenchmarkError                 something cannot be measured
"""

__all__ = [
    "AccountNotFoundError",
    "AddressError",
    "AuthenticationError",
    "BenchmarkError",
    "BootstrapError",
    "BotError",
    "CertificateError",
    "ClientAuthorizationError",
    "ConfigurationError",
    "ControlPortError",
    "CrowdedError",
    "DecryptionError",
    "DeliveryFailedError",
    "DeviceListError",
    "DialError",
    "DialTimeoutError",
    "DiskFullError",
    "DuplicateDeviceError",
    "EncryptionError",
    "FeatureMissingError",
    "FileChangedError",
    "FileDamagedError",
    "FileError",
    "FileTooLargeError",
    "FingerprintMismatchError",
    "InvalidFingerprintError",
    "InvalidInviteError",
    "InvalidJIDError",
    "InvalidLabelError",
    "InvalidMoveError",
    "InvalidOnionAddressError",
    "MovedError",
    "NoDevicesError",
    "NotAcknowledgedError",
    "OnionNotFoundError",
    "OnionServiceError",
    "OnionUnreachableError",
    "ProsodyError",
    "ProsodyNotFoundError",
    "RateLimitedError",
    "ReaderFaultError",
    "RegistrationError",
    "RoomError",
    "ServerError",
    "SessionError",
    "SessionLostError",
    "StampError",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StoreKeyError",
    "StoreLockedError",
    "StorePermissionError",
    "StoreTooNewError",
    "StreamViolationError",
    "TokenError",
    "TokenRefusedError",
    "TorError",
    "TorNotFoundError",
    "TorNotRunningError",
    "TransferError",
    "UndecidedDevicesError",
    "UnknownMessageError",
    "UsageError",
    "XmppOnionError",
]


class XmppOnionError(Exception):
    """The root: ``except XmppOnionError`` catches all that this package raises.

    Attributes:
        what: What failed, as one clause.
        why: The reason, or an empty string where ``what`` says it all.
        fix: What to do about it: a sentence, or a command to type.
        exit_code: What a command that fails with it ends with (see
            docs/reference/exit-codes.md).
    """

    exit_code: int = 1

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        self.what = what
        self.why = why
        self.fix = fix
        super().__init__(what, why, fix)

    def __str__(self) -> str:
        text = f"{self.what}: {self.why}" if self.why else self.what
        return f"{text}. {self.fix}" if self.fix else text

    def as_line(self) -> dict[str, object]:
        """Return the ``--json`` line that tells about it."""
        return {
            "v": 1,
            "event": "error",
            "code": self.exit_code,
            "what": self.what,
            "why": self.why,
            "fix": self.fix,
        }


# --- names --------------------------------------------------------------------


class AddressError(XmppOnionError, ValueError):
    """A name that cannot be what it should be; nothing was dialed."""

    exit_code = 2


class InvalidOnionAddressError(AddressError):
    """Not the name of a version 3 onion service. Compare it with its source."""


class InvalidJIDError(AddressError):
    """Not a JID at an onion service."""


class InvalidInviteError(AddressError):
    """Not an invite URI. Ask for a new one: ``xmpp-onion server invite DIR``."""


class InvalidMoveError(AddressError):
    """What says that a server moved does not count. Nothing was changed."""


# --- Tor ----------------------------------------------------------------------


class TorError(XmppOnionError):
    """Something about Tor. Nothing was sent past it: there is no way around."""

    exit_code = 3


class TorNotFoundError(TorError):
    """The program ``tor`` is not installed."""


class TorNotRunningError(TorError):
    """Nothing answers where Tor should listen, or it ended while in use."""


class ControlPortError(TorError):
    """Tor's control port does not let us in, or refused a command.

    Messages pass without it; publishing an onion service does not.
    """


class BootstrapError(TorError):
    """Tor runs and does not get into its network.

    Attributes:
        percent: How far it came, 0 to 100.
    """

    def __init__(
        self, what: str, *, percent: int, why: str = "", fix: str = ""
    ) -> None:
        self.percent = percent
        super().__init__(what, why=why, fix=fix)


class OnionServiceError(TorError):
    """Our own onion service could not be published."""


class DialError(TorError):
    """Tor could not connect us to an onion service.

    Attributes:
        host: The service that was asked for.
        reply: Tor's SOCKS reply code (RFC 1928, section 6, and 0xF0 to 0xF7 of
            Tor's SOCKS extensions), or None if there was no reply.
        can_retry: Whether the same dial may succeed later.
    """

    def __init__(
        self,
        what: str,
        *,
        host: str,
        reply: int | None = None,
        can_retry: bool = True,
        why: str = "",
        fix: str = "",
    ) -> None:
        self.host = host
        self.reply = reply
        self.can_retry = can_retry
        super().__init__(what, why=why, fix=fix)


class OnionNotFoundError(DialError):
    """No descriptor of that name: the service is off, or the name is wrong."""


class OnionUnreachableError(DialError):
    """The service is known to Tor, and could not be met. Retry in a moment."""


class ClientAuthorizationError(DialError):
    """The service lets in only clients whose key it knows."""


class DialTimeoutError(DialError):
    """No answer within the time given. Retry; Tor may be building circuits."""


# --- the XMPP session -----------------------------------------------------------


class SessionError(XmppOnionError):
    """Something about the XMPP session."""

    exit_code = 3


class AuthenticationError(SessionError):
    """The server refused the user name or the password. Do not retry."""

    exit_code = 6


class RegistrationError(SessionError):
    """The server refused to make the account: invite used, expired or unknown."""

    exit_code = 6


class CertificateError(SessionError):
    """The server shows another certificate than the one pinned. Nothing was sent."""

    exit_code = 6


class FeatureMissingError(SessionError):
    """The server does not offer what this package cannot do without.

    Attributes:
        feature: Its XEP or RFC, such as ``XEP-0198``.
    """

    exit_code = 6

    def __init__(
        self, what: str, *, feature: str, why: str = "", fix: str = ""
    ) -> None:
        self.feature = feature
        super().__init__(what, why=why, fix=fix)


class DeliveryFailedError(SessionError):
    """A message that was accepted did not and will not arrive."""

    exit_code = 5


class MovedError(SessionError):
    """The server has another name now, and says so with the keys of both.

    Nothing is followed by itself: ``xmpp-onion account move`` does.

    Attributes:
        old: The name that we know.
        new: The name that it has.
        document: What proves it; see `xmpp_onion.moves`.
    """

    exit_code = 6

    def __init__(
        self,
        what: str,
        *,
        old: str,
        new: str,
        document: str,
        why: str = "",
        fix: str = "",
    ) -> None:
        self.old, self.new, self.document = old, new, document
        super().__init__(what, why=why, fix=fix)

    def as_line(self) -> dict[str, object]:
        """Return the ``--json`` line ``moved``, which is an error's with both names."""
        return {**super().as_line(), "event": "moved", "old": self.old, "new": self.new}


class NotAcknowledgedError(SessionError):
    """The server did not confirm in time; the message stays in the outbox."""

    exit_code = 8


class RoomError(SessionError):
    """A room did not do what it was asked, or is not what it should be.

    Attributes:
        condition: What it answered (RFC 6120, section 8.3.3); empty if it did not.
    """

    exit_code = 5

    def __init__(
        self, what: str, *, condition: str = "", why: str = "", fix: str = ""
    ) -> None:
        self.condition = condition
        super().__init__(what, why=why, fix=fix)

    @property
    def is_temporary(self) -> bool:
        """Whether it may be otherwise in a while."""
        return self.condition in {
            "internal-server-error",
            "remote-server-not-found",
            "remote-server-timeout",
            "resource-constraint",
            "undefined-condition",
        }


class StampError(SessionError):
    """A server asks us, as a stranger, for more work than a word is worth."""


class StreamViolationError(SessionError):
    """The server breaks the rules of XMPP, or a limit; we closed the connection.

    Attributes:
        condition: The stream error that names the rule (RFC 6120, section 4.9.3).
    """

    def __init__(
        self, what: str, *, condition: str, why: str = "", fix: str = ""
    ) -> None:
        self.condition = condition
        super().__init__(what, why=why, fix=fix)


class SessionLostError(SessionError):
    """The session has ended and is not coming back; see the chained cause."""


class DuplicateDeviceError(SessionLostError):
    """Another program has logged in as this device: with a copy of the account.

    Two of them would use the same keys for different messages. The one that came
    later stays.
    """


class ReaderFaultError(SessionLostError):
    """A mistake of ours ended one connection after another, without a pause between."""

    exit_code = 1


# --- encryption -----------------------------------------------------------------


class EncryptionError(XmppOnionError):
    """A message could not be encrypted or decrypted. Nothing left in the clear."""

    exit_code = 4


class NoDevicesError(EncryptionError):
    """The recipient has published no device that can be encrypted for.

    Attributes:
        jid: The recipient.
    """

    def __init__(self, what: str, *, jid: str, why: str = "", fix: str = "") -> None:
        self.jid = jid
        super().__init__(what, why=why, fix=fix)


class UndecidedDevicesError(EncryptionError):
    """The recipient has devices that nobody decided about; nothing was sent.

    Compare each fingerprint with its owner over another channel, then
    ``xmpp-onion trust verify JID FINGERPRINT`` or ``client.trust(...)``, and
    send again.

    Attributes:
        jid: The recipient.
        fingerprints: 64 hex digits each, the Curve25519 form.
    """

    def __init__(
        self,
        what: str,
        *,
        jid: str,
        fingerprints: tuple[str, ...],
        why: str = "",
        fix: str = "",
    ) -> None:
        self.jid = jid
        self.fingerprints = fingerprints
        super().__init__(what, why=why, fix=fix)


class InvalidFingerprintError(EncryptionError):
    """Not a whole fingerprint, or none at all. Copy all 64 hex digits."""

    exit_code = 2


class InvalidLabelError(EncryptionError):
    """A device's name that is too long. Nothing was changed; take a shorter one."""

    exit_code = 2


class FingerprintMismatchError(EncryptionError):
    """A scanned code contradicts what was verified: somebody may be in between."""


class DeviceListError(EncryptionError):
    """A device list or a bundle could not be fetched or is malformed. Retry."""

    exit_code = 3


class DecryptionError(EncryptionError):
    """A message is not for this device, or its key does not fit."""


# --- bots -------------------------------------------------------------------------


class BotError(XmppOnionError):
    """What somebody asked of a bot was not done; who asked is told."""


class RateLimitedError(BotError):
    """A command is used too often. Try again later.

    Attributes:
        retry_after: Seconds until it may be used again.
    """

    def __init__(
        self, what: str, *, retry_after: float, why: str = "", fix: str = ""
    ) -> None:
        self.retry_after = retry_after
        super().__init__(what, why=why, fix=fix)


class CrowdedError(RateLimitedError):
    """Too many people are being asked something at the moment. Try again later."""


class UsageError(BotError):
    """A command was not typed as it has to be. ``help`` says how."""

    exit_code = 2


# --- files ------------------------------------------------------------------------


class FileError(XmppOnionError):
    """A file could not be sent or fetched. Nothing of it was left under its name."""

    exit_code = 5


class FileChangedError(FileError):
    """The file on the disk changed while it was sent. Send it again."""

    exit_code = 7


class FileDamagedError(FileError):
    """What came is not what was sent: damaged, cut short, or exchanged."""


class FileTooLargeError(FileError):
    """Larger than the server, the disk or the caller allows."""


class DiskFullError(FileTooLargeError):
    """The disk has no room for the file, so nothing of it was fetched."""

    exit_code = 7


class TransferError(FileError):
    """The server refused an object, or breaks the rules of HTTP.

    Attributes:
        status: The HTTP status; 0 if there is none.
        can_retry: Whether another circuit may mend it.
    """

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        fix: str = "",
        status: int = 0,
        can_retry: bool = False,
    ) -> None:
        self.status = status
        self.can_retry = can_retry
        super().__init__(what, why=why, fix=fix)


# --- what is set ------------------------------------------------------------------


class ConfigurationError(XmppOnionError):
    """A file or variable has a setting that is unknown, or that cannot be."""

    exit_code = 7


# --- what is kept on disk ---------------------------------------------------------


class StoreError(XmppOnionError):
    """Something about the files of an account."""

    exit_code = 7


class AccountNotFoundError(StoreError):
    """The profile has no account. Make one: ``xmpp-onion account add``."""


class StoreLockedError(StoreError):
    """Another process holds this account. One account is one process."""


class StoreKeyError(StoreError):
    """The account is encrypted, and no passphrase or key was given, or another one.

    Or it is not encrypted, and a key was given. Nothing was changed.
    """


class StoreTooNewError(StoreError):
    """A newer version of this package wrote the store.

    Attributes:
        found: Its schema version.
        known: The newest that this version can read.
    """

    def __init__(
        self, what: str, *, found: int, known: int, why: str = "", fix: str = ""
    ) -> None:
        self.found = found
        self.known = known
        super().__init__(what, why=why, fix=fix)


class StoreFullError(StoreError):
    """The disk is full. Nothing was written; with room again it goes on."""


class StorePermissionError(StoreError):
    """A file or folder that others can read or write, or that we cannot."""


class StoreCorruptError(StoreError):
    """The store cannot be read. It was left as it is: restore a backup."""


# --- tokens -------------------------------------------------------------------------


class UnknownMessageError(XmppOnionError):
    """No message of ours has that id, as far as it is remembered."""

    exit_code = 2


class TokenError(XmppOnionError):
    """Something about a token that lets others have something sent."""

    exit_code = 2


class TokenRefusedError(TokenError):
    """A token is not known, or not good for what was asked. Do not try again."""

    exit_code = 6


# --- processes of ours --------------------------------------------------------------


class ServerError(XmppOnionError):
    """Something about the onion server."""

    exit_code = 7


class ProsodyNotFoundError(ServerError):
    """The program ``prosody`` is not installed."""


class ProsodyError(ServerError):
    """Prosody ended, or does not listen where it should.

    Attributes:
        exit_status: What it ended with, or None if it runs.
        log_tail: The last lines of its log.
    """

    def __init__(
        self,
        what: str,
        *,
        exit_status: int | None,
        log_tail: str,
        why: str = "",
        fix: str = "",
    ) -> None:
        self.exit_status = exit_status
        self.log_tail = log_tail
        super().__init__(what, why=why, fix=fix)


# --- measuring ------------------------------------------------------------------


class BenchmarkError(XmppOnionError):
    """Something cannot be measured, or is not what should be measured."""

    exit_code = 7
