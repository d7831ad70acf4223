"""``xmpp-onion bench``: what things cost over a slow network, measured here."""

import asyncio
import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path

import click

from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.bench.contestants import (
    CONTESTANTS,
    HOW_TO_INSTALL,
    find_contestants,
)
from xmpp_onion.bench.course import Course
from xmpp_onion.bench.figures import Figure, render
from xmpp_onion.bench.peers import Enter
from xmpp_onion.bench.programme import (
    DEFAULT_RTTS,
    QUICK,
    QUICK_RTTS,
    Job,
    Machine,
    plan,
    plan_first_byte,
)
from xmpp_onion.bench.report import write
from xmpp_onion.bench.stage import Stage
from xmpp_onion.cli.progress import Steps
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import BenchmarkError, ProsodyNotFoundError
from xmpp_onion.testing.scratch import ScratchFolder
from xmpp_onion.testing.tornode import require_programs

__all__ = ["command"]

# Seconds. Longer than any circuit takes, and what all contestants are waited for.
_LONGEST_RTT = 5.0
_MOST_RTTS = 8


def _read_rtts(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> tuple[float, ...]:
    """Read seconds between commas; none if nothing was typed."""
    if text is None:
        return ()
    try:
        found = tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        found = ()
    if 0 < len(found) <= _MOST_RTTS and all(0 <= s <= _LONGEST_RTT for s in found):
        return found
    raise click.BadParameter(
        f"{text!r} is no list of seconds such as 0,0.5,1: up to {_MOST_RTTS} numbers, "
        f"each from 0 to {_LONGEST_RTT:.0f}"
    )


@click.command("bench")
@click.option(
    "--quick", is_flag=True, help="One delay and little to do: a minute or two."
)
@click.option(
    "--rtt",
    "rtts",
    callback=_read_rtts,
    metavar="S[,S…]",
    help="Seconds that a round trip takes; 0,0.1,0.5,1, and 0.2 with --quick.",
)
@click.option(
    "--rate",
    type=click.FloatRange(1, 1_000_000),
    metavar="KB",
    help="Kilobytes a second that a connection takes each way; else all that come.",
)
@click.option(
    "--loss",
    type=click.FloatRange(0, 50),
    default=0.0,
    metavar="PERCENT",
    help="Packets that get lost on the way, and come later; else none.",
)
@click.option(
    "--only",
    type=click.Choice(CONTESTANTS),
    help="Measure one of them alone.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write tables, figures and plots there.",
)
@click.pass_obj
def command(
    settings: Settings,
    *,
    quick: bool,
    rtts: tuple[float, ...],
    rate: float | None,
    loss: float,
    only: str | None,
    out: Path | None,
) -> int:
    """Measure what things cost over a slow network, on this machine alone.

    A Prosody on loopback, behind a proxy that makes the way to it long and counts:
    how often this client waits for the server, and for how long; beside it the bare
    libraries, if slixmpp-omemo is installed, Profanity, if it is, and hand-written
    stanzas, which show what is possible. Without --quick also a private Tor network,
    whose relays are as far from each other as in the open one. Nothing leaves this
    machine, nothing stays behind.
    """
    if shutil.which("prosody") is None:
        raise ProsodyNotFoundError(
            "there is no program prosody on this machine",
            why="what is measured talks to a real server",
            fix="Install it: apt-get install prosody lua-dbi-sqlite3 lua-unbound",
        )
    if not quick and only is None:
        require_programs()
    if out is not None:
        _check_folder(out)
    contestants = _choose(settings, only)
    course = QUICK if quick else Course()
    chosen = rtts or (QUICK_RTTS if quick else DEFAULT_RTTS)
    jobs = plan(contestants, chosen, course)
    if not quick and only is None:
        jobs.append(plan_first_byte())
    build = partial(Stage.build, rate=1000 * (rate or 0.0), loss=loss / 100)
    return asyncio.run(_run(settings, jobs, out, build))


def _choose(settings: Settings, only: str | None) -> dict[str, Enter]:
    """Return who is measured, and say who is missing."""
    found = find_contestants()
    if only is None:
        for name in sorted(set(HOW_TO_INSTALL) - set(found)):
            settings.output.note(f"Left out: {name}. {HOW_TO_INSTALL[name]}.")
        return found
    if only in found:
        return {only: found[only]}
    raise BenchmarkError(
        f"{only} cannot be measured",
        why="it is not installed",
        fix=HOW_TO_INSTALL[only],
    )


def _check_folder(out: Path) -> None:
    """See that it can be written to, before minutes of work."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".xmpp-onion-bench"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BenchmarkError(
            f"nothing can be written to {out}",
            why=error.strerror or type(error).__name__,
            fix="Name another folder: --out DIR.",
        ) from error


async def _run(
    settings: Settings,
    jobs: Sequence[Job],
    out: Path | None,
    build: Callable[[Path], AbstractAsyncContextManager[Stage]],
) -> int:
    figures: list[Figure] = []
    is_finished = False
    async with until_terminated(), AsyncExitStack() as stack:
        scratch = ScratchFolder.make("xmpp-onion-bench-")
        stack.callback(scratch.remove)
        stage = await stack.enter_async_context(build(scratch.path))
        machine = Machine.look(stage)
        _begin(settings, machine)
        with Steps(settings.output) as steps:
            for job in jobs:
                with steps.step(job.title) as step:
                    async for figure in job.run(stage):
                        figures.append(figure)
                        step.update(figure.title, None)
                        if settings.output.as_json:
                            settings.output.result(figure.as_line(), "")
                    step.done({"event": "measured", "what": job.title,
                               "seconds": step.seconds})  # fmt: skip
        is_finished = True
    if not is_finished:
        return 130
    _end(settings, machine, figures, out)
    return 0


def _begin(settings: Settings, machine: Machine) -> None:
    # What the libraries complain about is the server's distance.
    logging.getLogger("slixmpp").setLevel(logging.CRITICAL)
    logging.getLogger("omemo").setLevel(logging.CRITICAL)
    if settings.output.as_json:
        settings.output.result(machine.as_line(), "")


def _end(
    settings: Settings, machine: Machine, figures: list[Figure], out: Path | None
) -> None:
    if not settings.output.as_json:
        settings.output.result({}, f"{machine}\n\n{render(figures)}")
    if out is not None:
        for path in write(out, machine, figures):
            settings.output.note(f"written: {path}")
