"""Which of several languages a person reads, as this system says.

Source: RFC 4647, section 3 (which tag fits); POSIX, 8.2, and GNU gettext, "The
LANGUAGE variable" (what the environment says).
"""

import os
import re
from collections.abc import Mapping, Sequence

__all__ = ["choose", "preferred"]

_LOCALE = re.compile(r"([A-Za-z]{2,8})(?:_([A-Za-z0-9]{2,8}))?(?:[.@].*)?")
# A tag of more letters is no language.
_TAG_LIMIT = 64


def preferred(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the tags of the languages that the environment asks for, best first.

    None where it says C or POSIX, or nothing: then whoever wrote has the say.
    """
    raw = os.environ if environ is None else environ
    locale = next(
        (raw[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if raw.get(name)), ""
    )
    if locale.partition(".")[0] in {"", "C", "POSIX"}:
        return ()
    found = [
        _LOCALE.fullmatch(one) for one in [*raw.get("LANGUAGE", "").split(":"), locale]
    ]
    tags = ("-".join(filter(None, each.groups())).lower() for each in found if each)
    return tuple(dict.fromkeys(tags))


def choose(offered: Sequence[str], wanted: Sequence[str]) -> int:
    """Return which of ``offered`` to show: its place among them.

    That which fits what is wanted best; else that without a tag, which is the
    default; else the first.

    Args:
        offered: Tags, at least one; empty for none.
        wanted: Tags, best first.
    """
    tags = [tag.lower() if len(tag) <= _TAG_LIMIT else "" for tag in offered]
    for want in wanted:
        parts = want.lower().split("-")
        for length in range(len(parts), 0, -1):
            short = "-".join(parts[:length])
            for place, tag in enumerate(tags):
                if tag == short or tag.startswith(f"{short}-"):
                    return place
    return tags.index("") if "" in tags else 0
