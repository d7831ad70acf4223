"""What the global options say."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from xmpp_onion import configuration
from xmpp_onion.cli.output import Output
from xmpp_onion.configuration import Configuration, Setting

__all__ = ["Settings"]

_FROM_FILE: dict[str, Setting[object]] = {
    each.name: configuration.SETTINGS[each.name]
    for each in (
        configuration.PROFILE,
        configuration.DATA_DIR,
        configuration.SOCKS,
        configuration.CONTROL,
        configuration.KEY_FILE,
        configuration.PASSPHRASE_FILE,
    )
}
_LEVELS = [logging.WARNING, logging.INFO, logging.DEBUG]


@dataclass(slots=True, kw_only=True)
class Settings:
    """The global options of this run.

    Attributes:
        profile: Which account.
        data_dir: Where profiles live; None for the user's data folder.
        socks: ``HOST:PORT`` of a Tor to use; None finds or starts one.
        control: ``HOST:PORT`` of its control port.
        key_file: What opens an account that is encrypted with a key file.
        passphrase_file: Or with a passphrase; ``-`` for stdin.
        as_json: One JSON object a line on stdout, and nothing else there.
        quiet: No messages for people.
        config: The file with settings; None for the user's, which need not exist.
        given: The names of what was typed, or is in the environment.
        from_environment: Those of them that are in the environment alone.
        verbosity: 0 warnings, 1 changes of state, 2 details, on stderr.
    """

    profile: str = "default"
    data_dir: Path | None = None
    socks: str | None = None
    control: str | None = None
    key_file: Path | None = None
    passphrase_file: str | None = None
    as_json: bool = False
    quiet: bool = False
    verbosity: int = 0
    config: Path | None = None
    given: set[str] = field(default_factory=set)
    from_environment: set[str] = field(default_factory=set)

    def complete(self, *, may_be_missing: bool = False) -> Configuration:
        """Take what nobody typed from the file with settings, and return all of it.

        Args:
            may_be_missing: A file that was named need not be there: it is to be made.

        Raises:
            ConfigurationError: It has what is not known.
            StorePermissionError: Others can reach it.
        """
        flags = {name: getattr(self, name) for name in self.given & _FROM_FILE.keys()}
        found = Configuration.load(
            flags=flags, path=self.config, may_be_missing=may_be_missing
        )
        for name, setting in _FROM_FILE.items():
            if name not in self.given and found[setting] is not None:
                setattr(self, name, found[setting])
        return found

    @property
    def output(self) -> Output:
        """Where results and messages go."""
        level = _LEVELS[min(self.verbosity, len(_LEVELS) - 1)]
        logging.getLogger("xmpp_onion").setLevel(logging.ERROR if self.quiet else level)
        return Output(
            as_json=self.as_json, quiet=self.quiet, profile=self.typed_profile
        )

    @property
    def typed_profile(self) -> str:
        """The profile, if the next command has to name it as well; else empty."""
        is_typed = "profile" in self.given - self.from_environment
        return self.profile if is_typed else ""
