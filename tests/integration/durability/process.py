"""Processes that are no forks: with a command before them, in an environment."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[3]


class OwnProcess:
    """A script of this folder; used as a :class:`multiprocessing.Process` is.

    Args:
        program: The script.
        plan: Its one argument, a dataclass.
        prefix: A command that becomes the script in the end, as ``strace -D`` does:
            the process that is killed is the script's.
        environment: What is added to ours.
    """

    def __init__(
        self,
        program: str,
        plan: object,
        *,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        assert dataclasses.is_dataclass(plan)
        assert not isinstance(plan, type)
        fields = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in dataclasses.asdict(plan).items()
        }
        script = str(Path(__file__).with_name(program))
        self._command = [*prefix, sys.executable, script, json.dumps(fields)]
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it."""
        self._process = subprocess.Popen(self._command, env=self._environment)
        return self

    @property
    def pid(self) -> int | None:
        """Its number."""
        return self._process and self._process.pid

    @property
    def exitcode(self) -> int | None:
        """How it ended; None if it runs."""
        return self._process and self._process.poll()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, so many seconds at most."""
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def terminate(self) -> None:
        """Tell it to stop."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        assert self._process is not None
        self._process.kill()
