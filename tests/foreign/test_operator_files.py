"""The files for operators, as systemd and a reader of YAML understand them.

Neither systemd nor Docker can run in a test: the one wants to be the first process of a
machine, the other to change its network. What they would be told is checked whole.
"""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

# Of 10, where 0 is a service that can do nothing: what `systemd-analyze security` of
# systemd 252 says, as prosody-config/README.md repeats it.
EXPOSURE = {"onion-prosody": 1.2, "onion-tor": 1.4, "xmpp-onion": 2.7}

SHELL = "/bin/sh"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    program = shutil.which("systemd-analyze")
    assert program is not None, "install systemd"
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def files(root: Path) -> Path:
    return root / "prosody-config"


@pytest.fixture
def compose(files: Path) -> Mapping[str, dict[str, dict[str, object]]]:
    found: dict[str, dict[str, dict[str, object]]] = yaml.safe_load(
        (files / "compose.yaml").read_text("utf-8")
    )
    return found


def stages(files: Path) -> dict[str, list[str]]:
    """Return the instructions of each image, those of its base first."""
    text = (files / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if start := re.fullmatch(r"FROM (\S+) AS (\w+)", line):
            name = start[2]
            found[name] = list(found.get(start[1], []))
        elif line and not line.startswith("#"):
            found[name].append(" ".join(line.split()))
    return found


def filled(files: Path, name: str, folder: Path) -> Path:
    """Fill in a unit as an ordinary user's."""
    unit = folder / f"{name}.service"
    values = {
        "DIR": "/srv/xmpp", "TOR_DIR": "/srv/xmpp/tor", "USER": "games",
        "PROGRAM": "/bin/sh -m xmpp_onion",
    }  # fmt: skip
    text = (files / "systemd" / unit.name).read_text("utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    # Who has no Tor here is told the same of the unit.
    if shutil.which("tor") is None:
        text = text.replace("/usr/bin/tor", "/bin/true")
    unit.write_text(text)
    return unit


@pytest.mark.parametrize("name", EXPOSURE)
def test_systemd_finds_no_fault_with_a_unit(
    files: Path, name: str, tmp_path: Path
) -> None:
    unit = filled(files, name, tmp_path)

    done = analyze("verify", "--man=no", str(unit))

    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize("name", EXPOSURE)
def test_a_unit_is_exposed_no_more_than_is_said(
    files: Path, name: str, tmp_path: Path
) -> None:
    unit = filled(files, name, tmp_path)

    done = analyze("security", "--offline=true", "--no-pager", str(unit))

    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert level is not None, done.stdout + done.stderr
    assert float(level[1]) <= EXPOSURE[name]
    readme = (files / "README.md").read_text("utf-8")
    assert f"`{name}.service` {EXPOSURE[name]}" in readme


def test_nothing_of_the_containers_is_published_and_everything_is_declared(
    files: Path, compose: Mapping[str, dict[str, dict[str, object]]]
) -> None:
    services, images = compose["services"], stages(files)

    assert set(services) == {"tor", "prosody"}
    used = set()
    for name, service in services.items():
        assert not {"ports", "expose", "privileged", "devices", "env_file"} & {*service}
        build, volumes = service["build"], service["volumes"]
        assert isinstance(build, dict)
        assert isinstance(volumes, list)
        assert build == {"context": ".", "target": name}
        (declared,) = [line for line in images[name] if line.startswith("VOLUME ")]
        for volume in volumes:
            source, place = str(volume).split(":")
            used.add(source)
            assert f'"{place}"' in declared  # else it would belong to root
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert used == set(compose["volumes"])
    assert services["prosody"]["network_mode"] == "none"
    assert services["tor"]["networks"] == [*compose["networks"]]


def test_the_containers_are_told_only_what_their_scripts_ask_for(
    files: Path, compose: Mapping[str, dict[str, dict[str, object]]]
) -> None:
    for name, service in compose["services"].items():
        script = (files / "containers" / name).read_text("utf-8")
        environment = service.get("environment", {})
        assert isinstance(environment, dict)
        for variable, value in environment.items():
            assert f"${{{variable}:-" in script
            assert isinstance(value, str)  # `off` without quotes is a boolean
        subprocess.run([SHELL, "-n", files / "containers" / name], check=True)


def test_an_image_runs_one_program_as_nobody_special_and_keeps_no_lists(
    files: Path,
) -> None:
    for name, lines in stages(files).items():
        words = [line.split()[0] for line in lines]
        assert "ADD" not in words
        assert set(words) <= {"RUN", "COPY", "USER", "VOLUME", "ENTRYPOINT"}
        for line in lines:
            if "apt-get install" in line:
                assert "apt-get update &&" in line
                assert "--no-install-recommends" in line
                assert line.endswith(f"-g xmpp {line.split()[-1]}")
                assert "rm -rf /var/lib/apt/lists/*" in line
            if line.startswith("COPY"):
                *sources, target = line.split()[1:]
                assert all((files / source).exists() for source in sources)
                assert target.startswith("/usr/")
        if name == "base":
            continue
        users = [line for line in lines if line.startswith("USER")]
        assert users == ["USER debian-tor" if name == "tor" else "USER prosody"]
        assert lines[-1] == 'ENTRYPOINT ["/usr/local/bin/start"]'
        script = files / "containers" / name
        assert script.stat().st_mode & 0o111  # COPY keeps it
        assert re.search(r"^exec \w+ ", script.read_text("utf-8"), re.MULTILINE)
