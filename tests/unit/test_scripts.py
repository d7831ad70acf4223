"""scripts/: POSIX sh, and what set-up does on machines that lack this or that.

The machines are fakes at the far end: a PATH with programs that note how they were
called. Real fresh machines are in CONTRIBUTING.md.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [
    path
    for path in [*sorted((ROOT / "scripts").iterdir()), ROOT / ".ci" / "run"]
    if path.is_file() and path.read_text().startswith("#!/bin/sh")
]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))

# What a script may take for granted on any POSIX system.
BASICS = [
    "sh",
    "cat",
    "cmp",
    "cp",
    "dirname",
    "env",
    "head",
    "ls",
    "mkdir",
    "rm",
    "uname",
]

DEBIAN_LUA = " lua-dbi-sqlite3 lua-unbound"


class Machine(NamedTuple):
    """A computer with only the programs that a test puts there."""

    folder: Path

    def add(self, name: str, script: str = "exit 0") -> None:
        """Install a program that notes its call, then runs ``script``."""
        program = self.folder / "bin" / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.calls}"\n{script}\n')
        program.chmod(0o755)

    def add_python(self, name: str = "python3") -> None:
        """Install the Python that runs this test."""
        self.add(name, f'exec "{sys.executable}" "$@"')

    @property
    def calls(self) -> Path:
        return self.folder / "calls"

    @property
    def checkout(self) -> Path:
        return self.folder / "a checkout"

    @property
    def venv(self) -> Path:
        return self.folder / "a venv"

    def called(self, name: str) -> list[str]:
        """Return the arguments of each call of ``name``."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [
            line.removeprefix(f"{name} ") for line in lines if line.split()[0] == name
        ]

    def start(self, code: str) -> subprocess.Popen[str]:
        """Start shell ``code`` with the functions of scripts/set-up."""
        shell = f'. "{ROOT}/scripts/set-up"; PATH="$BIN"; set -eu; {code}'
        return subprocess.Popen(
            ["/bin/sh", "-c", shell],
            env={
                "BIN": str(self.folder / "bin"),
                "PATH": str(self.folder / "bin"),
                "XMPP_ONION_VENV": str(self.venv),
                "root": str(self.checkout),
            },
            cwd=self.folder,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, code: str) -> "Ended":
        """Run shell ``code`` to its end."""
        with self.start(code) as process:
            stdout, stderr = process.communicate(timeout=300)
        return Ended(process.returncode, stdout, stderr)


class Ended(NamedTuple):
    """What a script left behind."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "bin").mkdir()
    for name in BASICS:
        program = shutil.which(name, path="/usr/bin:/bin")
        assert program, f"{name} is missing here"
        (tmp_path / "bin" / name).symlink_to(program)
    machine = Machine(tmp_path)
    machine.checkout.mkdir()
    shutil.copy(ROOT / "pyproject.toml", machine.checkout)
    shutil.copytree(ROOT / "requirements", machine.checkout / "requirements")
    return machine


def with_everything(machine: Machine) -> None:
    for name in ("tor", "tor-gencert", "prosody"):
        machine.add(name)
    machine.add_python()


def made_venv(machine: Machine) -> None:
    """Make a virtual environment that set-up takes for complete."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(machine.venv)], check=True
    )
    done = machine.run(
        'stamp dev >"$venv/.set-up-dev"; stamp runtime >"$venv/.set-up-runtime"'
    )
    assert done.returncode == 0, done.stderr


# --- form ---------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_executable_posix_shell(script: Path) -> None:
    checked = subprocess.run(["/bin/sh", "-n", str(script)], check=False)

    assert checked.returncode == 0
    assert os.access(script, os.X_OK)
    assert not re.search(
        r"\[\[|pipefail|^\s*local |<<<|&>|\bfunction ", script.read_text(), re.MULTILINE
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_speaks_ascii_to_people(script: Path) -> None:
    # The locale of a small machine is C. Comments may say more.
    spoken = [
        line
        for line in script.read_text().splitlines()
        if not line.lstrip().startswith("#")
    ]

    assert all(line.isascii() for line in spoken)


def test_an_unknown_part_is_refused_with_the_known_ones() -> None:
    refused = subprocess.run(
        [ROOT / "scripts" / "test", "everything"],
        text=True,
        capture_output=True,
        check=False,
        cwd="/",
    )

    assert refused.returncode == 1
    assert "There is no part everything. The parts: lint types" in refused.stderr


# --- programs -----------------------------------------------------------------------


def test_nothing_is_installed_where_nothing_is_missing(machine: Machine) -> None:
    with_everything(machine)
    for manager in ("dnf", "sudo"):
        machine.add(manager)

    result = machine.run("set_up_programs")

    assert (result.returncode, result.stderr) == (0, "")
    assert machine.called("dnf") == machine.called("sudo") == []


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        (
            "apt-get",
            "apt-get update && apt-get install --no-install-recommends tor prosody"
            + DEBIAN_LUA,
        ),
        ("dnf", "dnf install tor prosody lua-dbi lua-unbound"),
        ("pacman", "pacman -S --needed tor prosody"),
    ],
)
def test_without_root_and_sudo_the_command_is_named(
    machine: Machine, manager: str, command: str
) -> None:
    machine.add("id", "echo 1000")
    machine.add(manager)
    machine.add("dpkg-query", "exit 1")
    machine.add_python()

    result = machine.run("set_up_programs")

    assert result.returncode == 1
    assert "there is no sudo here" in result.stderr
    assert f"    {command}\n" in result.stderr
    assert machine.called(manager) == []


def test_an_ordinary_user_installs_through_sudo_and_only_what_is_missing(
    machine: Machine,
) -> None:
    with_everything(machine)
    (machine.folder / "bin" / "prosody").unlink()
    machine.add("id", "echo 1000")
    machine.add("sudo", '"$@"')
    machine.add("dnf", f'ln -s /bin/true "{machine.folder}/bin/prosody"')
    (machine.folder / "bin" / "ln").symlink_to("/bin/ln")

    result = machine.run("set_up_programs")

    assert result.returncode == 0, result.stderr
    assert machine.called("dnf") == [
        "install --assumeyes --quiet prosody lua-dbi lua-unbound"
    ]


def test_debian_is_asked_not_to_ask_and_to_start_nothing(machine: Machine) -> None:
    machine.add("id", "echo 1000")
    machine.add("sudo", "exit 1")
    machine.add("apt-get")
    machine.add("dpkg-query", "exit 1")
    machine.add_python()

    result = machine.run("set_up_programs")

    assert result.returncode == 1
    script = f"{machine.checkout}/scripts/install-debian-packages"
    installer = f"sh {script} tor prosody{DEBIAN_LUA}"
    assert machine.called("sudo") == [f"env DEBIAN_FRONTEND=noninteractive {installer}"]
    assert "apt-get update && apt-get install" in result.stderr


def test_a_machine_without_package_manager_is_told_what_is_missing(
    machine: Machine,
) -> None:
    machine.add_python()

    result = machine.run("set_up_programs")

    assert result.returncode == 1
    assert "Missing programs: tor prosody." in result.stderr


def test_a_manager_that_installs_nothing_is_noticed(machine: Machine) -> None:
    machine.add("id", "echo 0")
    machine.add("pacman")
    machine.add_python()

    result = machine.run("set_up_programs")

    assert result.returncode == 1
    assert "these are missing: tor prosody" in result.stderr


# --- Python -------------------------------------------------------------------------


def test_a_python_that_does_not_start_or_is_too_old_does_not_count(
    machine: Machine,
) -> None:
    machine.add("python3.13", "exit 127")  # a pyenv shim without a version behind it
    machine.add("python3.11", "exit 1")  # what our question gets from an old one
    machine.add_python("python3")

    result = machine.run('find_python ""; echo "$python"')

    assert result.stdout == "python3\n"


def test_a_chosen_python_is_the_only_candidate(machine: Machine) -> None:
    machine.add_python()

    result = machine.run(
        'XMPP_ONION_PYTHON=/no/python; find_python ""; echo "[$python]"'
    )

    assert result.stdout == "[]\n"


# --- the virtual environment ----------------------------------------------------------


def test_a_complete_environment_is_left_alone(machine: Machine) -> None:
    made_venv(machine)

    result = machine.run("set_up_venv dev; set_up_venv runtime")

    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param('cp -r "$root" moved; root=$PWD/moved', id="the checkout moved"),
        pytest.param('rm "$venv/.set-up-runtime"', id="it was left half-made"),
        pytest.param('echo >>"$root/requirements/runtime.lock"', id="a lock changed"),
        pytest.param(
            'echo >>"$root/requirements/build.lock"', id="the builder changed"
        ),
        pytest.param('echo >>"$root/pyproject.toml"', id="the settings changed"),
        pytest.param('rm "$venv/bin/python"', id="its Python is gone"),
    ],
)
def test_an_environment_is_out_of_date_when(machine: Machine, change: str) -> None:
    made_venv(machine)

    result = machine.run(f"is_set_up runtime; {change}; is_set_up runtime || echo no")

    assert (result.returncode, result.stdout) == (0, "no\n"), result.stderr


def test_a_folder_with_other_files_is_not_replaced(machine: Machine) -> None:
    with_everything(machine)
    machine.venv.mkdir()
    letter = machine.venv / "letter.txt"
    letter.write_text("Dear Ann")

    result = machine.run("set_up_venv runtime")

    assert result.returncode == 1
    assert "has other files in it" in result.stderr
    assert letter.read_text() == "Dear Ann"


def test_a_second_set_up_waits_for_the_first(machine: Machine) -> None:
    with_everything(machine)

    with Path(f"{machine.venv}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with machine.start("find_python ''; lock_venv; echo locked") as second:
            assert second.stderr
            waiting = second.stderr.readline()
            fcntl.flock(held, fcntl.LOCK_UN)
            stdout, _ = second.communicate(timeout=300)

    assert waiting == f"Waiting for another set-up of {machine.venv}\n"
    assert stdout == "locked\n"


# --- locks --------------------------------------------------------------------------


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_has_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    entries = re.split(r"\n(?=[\w.-]+==)", text)[1:]

    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"://|--(index|extra|find|trusted)|/opt|/home|/tmp", text)


def test_the_locks_agree_with_each_other() -> None:
    runtime, dev, build = (
        pins(ROOT / "requirements" / f"{name}.lock")
        for name in ("runtime", "dev", "build")
    )

    assert runtime.items() <= dev.items()
    assert all(dev.get(name, version) == version for name, version in build.items())


def named(name: str) -> str:
    """Return the one form of a project's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_all_that_the_project_asks_for_is_locked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = {"runtime": settings["project"]["dependencies"]} | settings[
        "dependency-groups"
    ]

    for name, requirements in lists.items():
        locked = pins(ROOT / "requirements" / f"{name}.lock")
        asked = {re.split(r"[=<>~!;\[ ]", line)[0] for line in requirements}
        assert {named(name) for name in asked} <= {named(name) for name in locked}
