"""What is lost, repeated or reordered when processes, connections and servers die.

    python benchmarks/durability.py                     all runs in full, two hours
    python benchmarks/durability.py R1 R2 --kills 50    some runs, so far each
    python benchmarks/durability.py R7 --keep /tmp/r7   leaves histories and logs there

Sender and receiver are processes of their own, the server is a real Prosody, and a
separate program judges what they have written down: tests/integration/durability.
Prints a table for docs/reference/durability.md; exit 1 if a promise was broken.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "integration" / "durability")]


def main() -> int:
    """Run what was asked for and return the exit status."""
    from every_run import RUNS  # noqa: PLC0415 - found by the path above

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="RUN", help=", ".join(RUNS))
    parser.add_argument("--kills", type=int, help="how far each run goes")
    parser.add_argument("--prosody", default="prosody", help="the program")
    parser.add_argument("--keep", type=Path, help="a folder for what is left")
    options = parser.parse_args()
    unknown = set(options.names) - set(RUNS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    print("| run | accepted | lost | repeated | reordered | hangs | s |")
    print("|---|---|---|---|---|---|---|")
    status = 0
    for name in options.names or RUNS:
        number = options.kills or RUNS[name].full
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=options.keep))
        status |= asyncio.run(_run(name, number, folder, options.prosody))
        if not options.keep:
            shutil.rmtree(folder)
    return status


async def _run(name: str, number: int, folder: Path, program: str) -> int:
    from arena import Arena  # noqa: PLC0415 - found by the path above
    from every_run import RUNS  # noqa: PLC0415 - found by the path above

    started = time.monotonic()
    async with Arena(folder, program=program) as arena:
        figures = await RUNS[name].run(arena, number)
    wrongs = [figures[key] for key in ("lost", "repeated", "reordered", "forged")]
    lost, repeated, reordered, forged = map(len, wrongs)
    print(
        f"| {name}: {number} {RUNS[name].unit} | {figures['accepted']} | {lost} "
        f"| {repeated} | {reordered} | {figures['hangs']} "
        f"| {time.monotonic() - started:.0f} |",
        flush=True,
    )
    print(f"{name}: {figures}", file=sys.stderr, flush=True)
    also = [figures.get(key) for key in ("torn", "broken", "wrong", "hangs")]
    return int(bool(lost or repeated or reordered or forged or any(also)))


if __name__ == "__main__":
    sys.exit(main())
