"""What the global options say."""

import logging
from dataclasses import dataclass
from pathlib import Path

from xmpp_onion.cli.output import Output

__all__ = ["Settings"]

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

    @property
    def output(self) -> Output:
        """Where results and messages go."""
        names = "%(levelname)s %(name)s" if self.verbosity else "xmpp-onion"
        logging.basicConfig(format=f"{names}: %(message)s")
        level = _LEVELS[min(self.verbosity, len(_LEVELS) - 1)]
        logging.getLogger("xmpp_onion").setLevel(logging.ERROR if self.quiet else level)
        return Output(as_json=self.as_json, quiet=self.quiet)
