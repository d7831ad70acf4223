"""Benchmarks: that each can still be started.

They are run by hand, so nothing else notices when a name that they use is gone.
"""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
LOAD = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='loaded')"


@pytest.mark.parametrize(
    "path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem
)
def test_a_benchmark_finds_all_that_it_imports(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(path)],
        cwd=FOLDER,
        env={"PYTHONPATH": f"{FOLDER.parent}:{FOLDER}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
