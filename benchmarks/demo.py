"""Seconds from nothing to the end of the demo, split by phase.

    python benchmarks/demo.py [--runs 5] [-- COMMAND …]

Runs ``xmpp-onion demo --json`` and notes when each of its lines arrives, from the
start of the process on: imports, start-up and clean-up count. The demo keeps nothing
from one run to the next, so each begins with nothing: the private Tor network makes
its keys and its first consensus anew. Prints a table for
docs/reference/performance.md.
"""

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time

PHASES = {
    "tor": "private Tor network is up",
    "server": "Prosody is published on its onion",
    "registered": "three accounts registered with invites",
    "ready": "all logged in, keys published",
    "pinned": "keys of each other pinned",
    "message 1": "first encrypted message has arrived",
    "room": "three are in a room of their own",
    "message": "last encrypted message has arrived, in the room",
    "downloaded": "a file of 2 MB was sent, fetched and compared",
    "done": "the demo says it is done",
    "exit": "everything taken down, process ended",
}
_LIMIT_SECONDS = 180


def run_once(command: list[str]) -> dict[str, float]:
    """Run the demo; return the time of each phase's end, in seconds from the start."""
    marks: dict[str, float] = {}
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        limit = threading.Timer(_LIMIT_SECONDS, demo.kill)
        limit.start()
        for line in demo.stdout:
            event = json.loads(line)["event"]
            now = time.perf_counter() - started
            if event == "message":
                marks.setdefault("message 1", now)
            marks[event] = now
        status = demo.wait()
        limit.cancel()
    marks["exit"] = time.perf_counter() - started
    if status:
        sys.exit(f"the demo failed with status {status}")
    return marks


def table(runs: list[dict[str, float]]) -> str:
    """Return medians and extremes in markdown."""
    lines = [
        "| phase | seconds since the phase before | seconds since the start |",
        "| --- | ---: | ---: |",
    ]
    before = [0.0] * len(runs)
    for phase, title in PHASES.items():
        if not all(phase in run for run in runs):
            continue
        ends = [run[phase] for run in runs]
        taken = [end - start for end, start in zip(ends, before, strict=True)]
        before = ends
        lines.append(f"| {title} | {_spread(taken)} | {_spread(ends)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    median = f"{statistics.median(values):.1f}"
    if len(values) == 1:
        return median
    return f"{median} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    """Run the demo as often as asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("command", nargs="*", help="default: this xmpp-onion's demo")
    chosen = parser.parse_args()
    command = chosen.command or [sys.executable, "-m", "xmpp_onion", "demo", "--json"]
    print(table([run_once(command) for _ in range(chosen.runs)]))


if __name__ == "__main__":
    main()
