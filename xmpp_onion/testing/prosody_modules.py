"""Debian's prosody-modules, for tests and measurements of quick logins."""

import os
import shutil
from pathlib import Path
from typing import Final

__all__ = ["add_quick_login", "find_modules"]

_NAMES: Final = ("sasl2", "sasl2_bind2", "sasl2_fast", "sasl2_sm")


def find_modules() -> Path | None:
    """Return where the package was unpacked; None if it was not.

    ``scripts/fetch-prosody-modules DIR`` does, and DIR goes into
    ``XMPP_ONION_PROSODY_MODULES``.
    """
    folder = os.environ.get("XMPP_ONION_PROSODY_MODULES", "")
    return Path(folder) if folder else None


def add_quick_login(server: Path, modules: Path, *, program: str) -> None:
    """Put the modules where a server looks for ours.

    Args:
        server: The folder of a server that does not run.
        modules: What `find_modules` returned.
        program: The Prosody that will run: the system's, or 13.0 by its path.
    """
    series = modules / ("13" if "/" in program else "system")
    for name in _NAMES:
        copy = server / "prosody" / "modules" / f"mod_{name}"
        shutil.copytree(series / f"mod_{name}", copy)
        for path in (copy, *copy.iterdir()):
            path.chmod(0o755)
