"""Tell the operators what Alertmanager reports, from a webhook on a unix socket.

A group is answered with 200 when the message is on the disk; else it comes again.
Try it: curl --unix-socket alerts/hook --json @group.json http://bot/
"""

import json
import os
from pathlib import Path

from xmpp_onion import Bot, Trust
from xmpp_onion.bot import receive_posts

SOCKET = Path(os.environ.get("ALERTS_SOCKET", "alerts/hook"))
SHOWN = 20  # alerts of one group; a storm has thousands

bot = Bot("alertmanager", trust=Trust.PINNED)


@bot.background
async def listen(own: Bot) -> None:
    """Take what is posted, for as long as the bot runs."""

    async def tell(body: bytes) -> None:
        text = describe(body)
        for operator in os.environ["OPERATORS"].split():
            await own.send(operator, text)

    SOCKET.parent.mkdir(mode=0o700, exist_ok=True)
    await receive_posts(SOCKET, tell)


def describe(body: bytes) -> str:
    """Return what a group of alerts says; a ValueError if it is none."""
    group = json.loads(body)
    try:
        lines = [
            f"{alert['status']}: {alert['labels']['alertname']} "
            f"{alert['annotations'].get('summary', '')}".strip()
            for alert in group["alerts"]
        ]
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError("this is no group of alerts") from error
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n".join(lines[:SHOWN] + more)


if __name__ == "__main__":
    bot.run()
