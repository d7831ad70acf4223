import json
import os
import sys
from pathlib import Path

from xmpp_onion.testing import leak
from xmpp_onion.testing.hostile import make_onion_name


async def test_a_session_that_cannot_connect_talks_to_the_socks_port_alone(
    root: Path,
) -> None:
    onion = make_onion_name()
    program = Path(__file__).with_name("lonely.py")
    verdict = await leak.judge(
        [sys.executable, str(program), f"bob@{onion}"],
        env=os.environ | {"PYTHONPATH": str(root)},
    )

    assert verdict.status == 0, verdict.stderr
    said = json.loads(verdict.stdout)
    assert said["asked"] == [[onion, 5222]]
    assert leak.leaks(verdict.calls, ports={said["port"]}) == []
    assert sum(call.syscall == "connect" for call in verdict.calls) > 3
