"""How long it takes to begin: each command until it has said what it has to say.

    python benchmarks/start.py [--times 21]

One process after the other, from the same Python: help, version, completion, config,
imports of this package and of the libraries below it, `send` to a process that holds
the account and answers at once, and `chat` in a terminal until there is a line to type
on. Prints a table for docs/reference/performance.md: medians of the CPU time of the
process and of the wall clock, which is a guide where other work runs.
"""

import argparse
import json
import os
import pty
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from xmpp_onion import JID, Account, OnionAddress, Trust

ROOT = Path(__file__).parent.parent
ALICE = JID(f"alice@{OnionAddress.from_public_key(bytes(32))}")
BOB = JID(f"bob@{ALICE.domain}")
# Where no Tor is: what is measured ends before it is asked.
NOWHERE = "127.0.0.1:9"
# The end of the prompt of `chat`, whose name is cut.
PROMPT = "…>".encode()


class Spent(NamedTuple):
    """What one start took, in seconds."""

    cpu: float
    wall: float


def run(words: list[str], environment: dict[str, str]) -> Spent:
    """Run a Python program to its end."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{words} ended with {process.returncode}")
    return Spent(used.ru_utime + used.ru_stime, time.perf_counter() - began)


def paint(words: list[str], environment: dict[str, str]) -> Spent:
    """Run a program in a terminal until it shows a prompt, and kill it."""
    ours, its = pty.openpty()
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words],
        stdin=its,
        stdout=its,
        stderr=its,
        env=environment,
        start_new_session=True,
    )
    os.close(its)
    shown = b""
    while PROMPT not in shown:
        try:
            shown += os.read(ours, 65536)
        except OSError:
            raise SystemExit(f"no prompt: {shown.decode()}") from None
    took = time.perf_counter() - began
    process.kill()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    os.close(ours)
    return Spent(used.ru_utime + used.ru_stime, took)


@contextmanager
def holder(account: Account) -> Iterator[None]:
    """Answer each `send` at once, as a process that holds the account would."""
    from xmpp_onion.agent.caller import END, socket_path  # noqa: PLC0415 - not measured

    sent = {"v": 1, "event": "sent", "to": BOB, "devices": 1, "skipped": [],
            "state": "acked"}  # fmt: skip
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path(account.folder)))
        listener.listen()

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, connection.makefile("rwb") as file:
                    file.readline()
                    for line in (sent, END):
                        file.write(json.dumps(line).encode() + b"\n")

        threading.Thread(target=answer, daemon=True).start()
        yield
        listener.shutdown(socket.SHUT_RDWR)


def row(name: str, times: int, start: Callable[[], Spent]) -> None:
    """Measure something again and again, and print a row."""
    start()  # what the first one compiles and reads from the disk is not counted
    found = [start() for _ in range(times)]
    cpu, wall = (1000 * statistics.median(each) for each in zip(*found, strict=True))
    print(f"| {name} | {cpu:.0f} | {wall:.0f} |", flush=True)


def measure(times: int, folder: Path) -> None:
    """Print all rows."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm",
        "XMPP_ONION_SOCKS": NOWHERE,
    }
    account = Account(
        profile="default",
        folder=folder / ".local" / "share" / "xmpp-onion" / "default",
        jid=ALICE,
        password="x",  # noqa: S106 - of an account that is nowhere
        trust=Trust.BTBV,
    )
    account.save()
    ours = ["-m", "xmpp_onion"]
    shell = {"_XMPP_ONION_COMPLETE": "bash_complete", "COMP_WORDS": "xmpp-onion se",
             "COMP_CWORD": "1"}  # fmt: skip
    print("| start of | ms of CPU | ms |\n| --- | ---: | ---: |")
    row("a Python that does nothing", times, lambda: run(["-c", ""], environment))
    for words in ("--help", "send --help", "version", "config show", "completion zsh"):
        row(f"`xmpp-onion {words}`", times,
            lambda words=words: run([*ours, *words.split()], environment))  # type: ignore[misc] # fmt: skip # a default binds the loop's value
    row("completion of a word", times, lambda: run(ours, environment | shell))
    with holder(account):
        sending = [*ours, "send", str(BOB), "-m", "x"]
        row("`xmpp-onion send` beside an agent", times,
            lambda: run(sending, environment))  # fmt: skip
    chat = [*ours, "chat", str(BOB)]
    row("`xmpp-onion chat`, until there is a line to type on", times,
        lambda: paint(chat, environment))  # fmt: skip
    for code in ("import xmpp_onion", "from xmpp_onion import Account",
                 "from xmpp_onion import Client", "import slixmpp",
                 "import slixmpp, slixmpp_omemo"):  # fmt: skip
        row(f"`{code}`", times, lambda code=code: run(["-c", code], environment))  # type: ignore[misc] # as above


def main() -> None:
    """Measure in a folder of our own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=21)
    with tempfile.TemporaryDirectory() as folder:
        measure(parser.parse_args().times, Path(folder))


if __name__ == "__main__":
    main()
