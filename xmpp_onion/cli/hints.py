"""Command lines that we tell people to type, for the account that they used.

Errors and what is below the command line know of no profiles: they name a command, and
here it becomes one that reaches the same account.
"""

import re
import shlex
from typing import Final

__all__ = ["of_profile"]

# Those that are about an account; `server`, `demo` and the like have no profile, and
# what names one already goes on with an option.
_COMMAND: Final = re.compile(
    r"\bxmpp-onion (?=(?:account|agent|bot|chat|contact|devices|doctor|download|export"
    r"|import|listen|react|retract|room|send|sent|trust)\b)"
)


def of_profile(text: str, profile: str) -> str:
    """Return ``text`` with each command line for a profile; empty for none named."""
    if not profile:
        return text
    named = f"xmpp-onion --profile {shlex.quote(profile)} "
    return _COMMAND.sub(lambda _: named, text)
