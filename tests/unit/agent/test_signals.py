import signal
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, sys
from xmpp_onion.agent.signals import until_terminated

async def main():
    async with until_terminated():
        try:
            print("up", flush=True)
            await asyncio.sleep(60)
        finally:
            print("cleaning", flush=True)
            await asyncio.sleep(0.5)
            print("clean", flush=True)
    print("after", flush=True)

try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(130)
"""


def end(*signals: signal.Signals) -> tuple[str, int]:
    """Send the first when it is up, the others while it cleans up."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signals[0])
        assert process.stdout.readline() == "cleaning\n"
        for number in signals[1:]:
            process.send_signal(number)
        rest = process.stdout.read()
        return rest, process.wait(timeout=300)


def test_sigterm_is_like_the_end_of_the_block() -> None:
    assert end(signal.SIGTERM) == ("clean\nafter\n", 0)


def test_an_interrupt_is_one_after_the_block_has_cleaned_up() -> None:
    assert end(signal.SIGINT) == ("clean\n", 130)


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_cut_the_cleaning_short(
    second: signal.Signals,
) -> None:
    assert end(signal.SIGINT, second, second) == ("clean\n", 130)
    assert end(signal.SIGTERM, second, second) == ("clean\nafter\n", 0)
