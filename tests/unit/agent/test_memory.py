import subprocess
import sys

import pytest

LIMITS = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"


@pytest.mark.parametrize(
    "start",
    [
        "from xmpp_onion.agent.memory import forbid_core_dumps as start",
        (
            "import sys; from xmpp_onion.cli.main import main; sys.argv = ['x', '-h']\n"
            "def start():\n    try: main()\n    except SystemExit: pass"
        ),
        (
            "from xmpp_onion import Bot, Trust\n"
            "def start():\n    try: Bot('nobody', trust=Trust.PINNED).run()\n"
            "    except SystemExit: pass"
        ),
    ],
    ids=["itself", "commands", "bots"],
)
def test_no_core_is_dumped(start: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{start}\nstart()\n{LIMITS}"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == "(0, 0)"
