"""How a bot is: numbers that name nobody, also as Prometheus reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["Counts", "Health", "exposition"]


@dataclass(slots=True)
class Counts:
    """What has happened since a bot began.

    Attributes:
        heard: Messages of devices that are accepted.
        ignored: Messages of others.
        answered: What was answered to them.
        dropped: Answers that came too often.
        failed: Handlers, jobs and hooks that raised.
        unreadable: Messages that could not be decrypted.
    """

    heard: int = 0
    ignored: int = 0
    answered: int = 0
    dropped: int = 0
    failed: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Health:
    """How a bot is at one moment.

    Attributes:
        is_connected: Whether its connection is there.
        ping: Seconds that its server took to answer; None if it did not, in time.
        outbox: Stanzas that wait for the server's ack.
        waiting: Messages that wait for a handler.
        running: Handlers that run.
        asking: Handlers of them that wait for somebody's answer.
        counts: What has happened so far.
        jobs: When each job is due next, in UTC.
    """

    is_connected: bool
    ping: float | None
    outbox: int
    waiting: int
    running: int
    asking: int
    counts: Counts
    jobs: Mapping[str, datetime] = field(default_factory=dict)


_GAUGES: Mapping[str, str] = {
    "connected": "Whether the connection is there.",
    "ping_seconds": "How long the server took to answer.",
    "outbox": "Stanzas that wait for the server's ack.",
    "waiting": "Messages that wait for a handler.",
    "running": "Handlers that run.",
    "asking": "Handlers that wait for somebody's answer.",
}
_COUNTERS: Mapping[str, str] = {
    "heard": "Messages of devices that are accepted.",
    "ignored": "Messages of other devices.",
    "answered": "Answers.",
    "dropped": "Answers that came too often.",
    "failed": "Handlers, jobs and hooks that raised.",
    "unreadable": "Messages that could not be decrypted.",
}


def exposition(health: Health) -> str:
    """Return it in the text format of Prometheus, version 0.0.4."""
    values = {
        "connected": int(health.is_connected),
        "ping_seconds": "NaN" if health.ping is None else f"{health.ping:.6f}",
        "outbox": health.outbox,
        "waiting": health.waiting,
        "running": health.running,
        "asking": health.asking,
    }
    lines: list[str] = []
    for name, text in _GAUGES.items():
        lines += _family(name, text, "gauge")
        lines.append(f"xmpp_onion_bot_{name} {values[name]}")
    for name, text in _COUNTERS.items():
        lines += _family(f"{name}_total", text, "counter")
        lines.append(f"xmpp_onion_bot_{name}_total {getattr(health.counts, name)}")
    lines += _family("job_due_seconds", "When a job is due, since 1970.", "gauge")
    lines += [
        f'xmpp_onion_bot_job_due_seconds{{job="{name}"}} {due.timestamp():.0f}'
        for name, due in health.jobs.items()
    ]
    return "\n".join(lines) + "\n"


def _family(name: str, text: str, kind: str) -> list[str]:
    full = f"xmpp_onion_bot_{name}"
    return [f"# HELP {full} {text}", f"# TYPE {full} {kind}"]
