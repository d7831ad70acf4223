"""How long fifty tests of a bot take, in a pytest of their own.

    python benchmarks/bot_tests.py [--runs 5] [--tests 50]

Each test starts a bot, sends it a command from one of two people, and looks at the
answer. They are run without keys and with them (``--xmpp-crypto real``). Told are
pytest's own seconds for the tests, and those that the processor was at work for the
whole process, imports included: where others work beside, only these say much.
Prints a table for docs/reference/performance.md.
"""

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUITE = """
import pytest

from xmpp_onion import Bot, Trust

bot = Bot("test", trust=Trust.PINNED)


@bot.command
async def add(a: int, b: int = 1) -> str:
    return str(a + b)


@pytest.mark.parametrize("number", range({tests}))
async def test_add(xmpp_server, number):
    async with xmpp_server(bot) as server:
        alice, bob = server.user("alice"), server.user("bob")
        await alice.send(f"!add {number} 2")
        await bob.send("!add 1")
        assert (alice.last, bob.last) == (str(number + 2), "2")
"""
TOLD = re.compile(r"(\d+) passed in ([\d.]+)s")


def run(folder: Path, tests: int, crypto: str) -> tuple[float, float]:
    """Return the seconds of the tests, and of the processor for the whole process."""
    (folder / "test_bot.py").write_text(SUITE.replace("{tests}", str(tests)))
    plugins = ["-p", "pytest_asyncio.plugin", "-p", "xmpp_onion.testing.plugin"]
    options = ["-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *plugins,
            *options,
            "--xmpp-crypto",
            crypto,
        ],
        cwd=folder,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = TOLD.search(done.stdout)
    if found is None or int(found[1]) != tests:
        raise SystemExit(done.stdout)
    return float(found[2]), whole


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tests", type=int, default=50)
    arguments = parser.parse_args()
    print(f"| {arguments.tests} tests | seconds | of the processor, with imports |")
    print("|---|---:|---:|")
    for crypto in ("none", "real"):
        with tempfile.TemporaryDirectory() as folder:
            runs = [
                run(Path(folder), arguments.tests, crypto)
                for _ in range(arguments.runs)
            ]
        own, whole = (statistics.median(each) for each in zip(*runs, strict=True))
        print(f"| `--xmpp-crypto {crypto}` | {own:.2f} | {whole:.2f} |")


if __name__ == "__main__":
    main()
