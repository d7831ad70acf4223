"""What a power loss leaves of a store, replayed from the system calls of its writer.

``strace`` records every write, cut and sync of the store's files. After each of them
the disk may hold what was synced before, and any part of what was not: nothing, all,
some of the writes, the last one torn at a sector.
"""

import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

WRITER = Path(__file__).with_name("fault_writer.py")
_CALLS = "pwrite64,write,lseek,ftruncate,fsync,fdatasync,unlink"
_SECTOR_BYTES = 512
_CALL = re.compile(
    r"^(?:\d+ +)?(?P<name>\w+)\((?P<file>\d+)<(?P<path>[^>]*)>(?:, |\))(?P<rest>.*)$"
)
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"^ *<\.\.\. \w+ resumed>(?P<rest>.*)$")
_GONE = re.compile(r'^(?:\d+ +)?unlink\("(?P<path>[^"]*)"\)')
_DATA = re.compile(r'^"(?P<data>(?:\\x[0-9a-f]{2})*)", (?P<size>\d+)(?:, (?P<at>\d+))?')


@dataclass(slots=True)
class Disk:
    """One file: what is there for sure, and what was written since."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list)
    position: int = 0

    def write(self, at: int, data: bytes) -> None:
        self.pending.append((at, data))

    def sync(self) -> None:
        self.synced = self.with_(self.pending)
        self.pending = []

    def with_(self, writes: list[tuple[int, bytes]]) -> bytearray:
        content = bytearray(self.synced)
        for at, data in writes:
            if len(content) < at:
                content.extend(bytes(at - len(content)))
            content[at : at + len(data)] = data
        return content

    def after_a_loss(self, how: str) -> bytes:
        """Return what is left: of the writes that were not synced, ``how`` many."""
        writes = self.pending
        if how == "none":
            writes = []
        elif how == "some" and writes:
            writes = [one for one in writes if secrets.randbelow(2)]
            if writes:
                at, data = writes.pop(secrets.randbelow(len(writes)))
                kept = _SECTOR_BYTES * secrets.randbelow(1 + len(data) // _SECTOR_BYTES)
                writes.append((at, data[:kept]))
        return bytes(self.with_(writes))


def record(
    path: Path, trace: Path, transactions: int, root: Path, how: str = "write"
) -> list[str]:
    """Run a writer under ``strace`` and return its calls, in order."""
    subprocess.run(
        [  # noqa: S607 - from the PATH, as everywhere
            "strace", "-f", "-y", "-xx", "-s", "70000", "-e", f"trace={_CALLS}",
            "-o", str(trace), sys.executable, str(WRITER), how, str(path),
            str(transactions),
        ],
        env={"PYTHONPATH": str(root)},
        check=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    return trace.read_text().splitlines()


def replay(
    calls: list[str], path: Path, files: dict[str, Disk]
) -> Iterator[tuple[int, dict[str, Disk]]]:
    """Yield, after each call that changes the disk, how many were promised by then.

    A promise is a number that the writer says, or the note of its store's witness.
    """
    promised = 0
    for call in _joined(calls):
        if gone := _GONE.match(call):
            files.pop(_text(gone["path"]).removeprefix(str(path)), None)
            yield promised, files
        found = _CALL.match(call)
        if found is None:
            continue
        name = _text(found["path"])
        said = _DATA.match(found["rest"] or "")
        is_said = found["file"] == "1" and found["name"] == "write"
        if said and (is_said or name.endswith(".generation")):
            number = int((_bytes(said).split() or [promised])[0])
            promised = max(promised, number)  # the last of a group is told first
            continue
        if not name.startswith(str(path)) or name.endswith(("-shm", ".lock")):
            continue
        disk = files.setdefault(name.removeprefix(str(path)), Disk())
        _apply(disk, found["name"], found["rest"] or "", said)
        yield promised, files


def _joined(calls: list[str]) -> Iterator[str]:
    """Yield calls as they end; strace cuts those in two that others come between."""
    begun: dict[str, str] = {}
    for call in calls:
        thread, _, rest = call.partition(" ")
        if call.endswith(_UNFINISHED):
            begun[thread] = call.removesuffix(_UNFINISHED)
        elif resumed := _RESUMED.match(rest):
            yield begun.pop(thread, "") + resumed["rest"]
        else:
            yield call
    for call in begun.values():  # whether they happened nobody knows
        if "sync" not in call:
            yield call


def _apply(disk: Disk, name: str, rest: str, said: re.Match[str] | None) -> None:
    match name:
        case "pwrite64" if said:
            disk.write(int(said["at"]), _bytes(said))
        case "write" if said:
            disk.write(disk.position, _bytes(said))
            disk.position += int(said["size"])
        case "lseek":
            disk.position = int(rest.split(",", 1)[0])
        case "ftruncate":
            size = int(rest.split(")", 1)[0])
            disk.sync()  # as if it were: a journalling file system orders both
            del disk.synced[size:]
        case "fsync" | "fdatasync":
            disk.sync()


def _text(escaped: str) -> str:
    if "\\x" not in escaped:
        return escaped
    return bytes.fromhex(escaped.replace("\\x", "")).decode()


def _bytes(said: re.Match[str]) -> bytes:
    return bytes.fromhex(said["data"].replace("\\x", ""))
