"""``benchmarks/server.py`` in small: what it prints is what it measured."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.prosody


async def test_the_benchmark_of_a_server_fills_its_tables(
    prosody_program: str, root: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, root / "benchmarks" / "server.py"),
        *("--sessions", "8", "--idle-seconds", "0", "--prosody", prosody_program),
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()

    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in output.decode().splitlines()
        if line.startswith("|") and "---" not in line
    ]
    assert process.returncode == 0
    assert [row[0] for row in rows] == [
        *("sessions", "2", "4", "8"),
        *("what", "to one, 1 kB, archived for both", "the same, not archived"),
    ]
    assert all(float(row[1].replace(",", "")) > 0 for row in (*rows[1:4], *rows[5:]))
