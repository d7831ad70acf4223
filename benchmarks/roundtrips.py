"""Round trips and seconds of connecting and writing: ours beside the bare libraries.

    python benchmarks/roundtrips.py [--rtt 0 0.2 0.5] [--only bare|profanity|raw|ours]
        [--strangers 10] [--backlog 1000] [--prosody PROGRAM]

All log in to the same Prosody on loopback, through a SOCKS5 proxy that delays each
way by half the round-trip time and counts (``xmpp_onion.testing.ChaosProxy``). The
way of one person is measured; that of all others has no delay. Accounts are new for
each run. The server has Debian's prosody-modules if they are unpacked
(``scripts/fetch-prosody-modules``), whose quick login the bare libraries do not know.
Each does about TLS what its makers do by default: bare speaks STARTTLS, ours none.
The same as ``xmpp-onion bench``, with the numbers chosen. Prints a table for
docs/reference/performance.md.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from xmpp_onion.bench.contestants import find_contestants
from xmpp_onion.bench.course import Course
from xmpp_onion.bench.figures import Figure, render
from xmpp_onion.bench.stage import Stage


async def main(chosen: argparse.Namespace) -> None:
    """Run every contestant at every round-trip time, and print the table."""
    course = Course(chosen.strangers, chosen.backlog)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="xmpp-onion-bench-") as folder:
        async with Stage.build(Path(folder), program=chosen.prosody) as stage:
            print(f"Prosody {stage.server.version}", file=sys.stderr)
            for rtt in chosen.rtt:
                for name, enter in find_contestants().items():
                    if chosen.only not in {None, name}:
                        continue
                    print(f"{name} at {rtt * 1000:.0f} ms …", file=sys.stderr)
                    async for figure in course.run(name, enter, rtt, stage):
                        print(figure.as_line(), file=sys.stderr)
                        figures.append(figure)
    print(render(figures))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rtt", type=float, nargs="+", default=[0.0, 0.2, 0.5])
    parser.add_argument("--only", default=None)
    parser.add_argument("--strangers", type=int, default=10)
    parser.add_argument("--backlog", type=int, default=1000)
    parser.add_argument("--prosody", default="prosody", metavar="PROGRAM")
    asyncio.run(main(parser.parse_args()))
