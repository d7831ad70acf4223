"""What one process did, written down line by line before anybody can kill it.

Each line is a JSON object with a ``what``:

``started``   a process begins; who it is
``intent``    about to hand a text to ``send()`` or ``queue()``
``accepted``  that call returned: from here on the text must arrive
``refused``   that call raised, and said that nothing is kept: it must not arrive
``handled``   a message reached the application
``rotated``   a signed pre-key was replaced
``unreadable`` something came that could not be read
``state``     the connection went into another state
``rolled back`` the library says that its store is an old copy
``lag``       for how many seconds nothing could run in the event loop, at most and
              in 99 of 100 looks; the memory that the process has
``flooded``   a stranger has sent so many stanzas
``failed``    the process ends because of its store: which error, and its words
``stopped``   the process ends in order; the most memory that it had

Each has the time, ``at``, by the clock of the machine.
"""

import json
import os
import time
from pathlib import Path


class History:
    """Appends to a file; a line that ``write`` returned from survives any kill.

    Args:
        path: The file, made if it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, what: str, **fields: str | float) -> None:
        """Append one line, and return when it is on the disk."""
        line = json.dumps({"what": what, "at": time.time(), **fields}) + "\n"
        os.write(self._file, line.encode())
        os.fsync(self._file)

    @staticmethod
    def last_number(path: Path) -> int:
        """Return the number of the last text that was meant to be sent, 0 for none."""
        if not path.exists():
            return 0
        last = 0
        for line in path.read_text("utf-8").splitlines():
            entry = json.loads(line)
            if entry["what"] == "intent":
                last = max(last, entry["number"])
        return last
