"""The Tor side of the files for operators."""

import shutil
import subprocess
from pathlib import Path


def test_tor_accepts_the_torrc_of_the_files(root: Path, tmp_path: Path) -> None:
    text = (root / "prosody-config" / "torrc").read_text("utf-8")
    names = {"@TOR_DIR@": str(tmp_path / "hs"), "@C2S_PROXY_PORT@": "1"}
    for name, value in names.items():
        assert name in text
        text = text.replace(name, value)
    (tmp_path / "torrc").write_text(text)
    (tmp_path / "defaults").touch()

    tor = shutil.which("tor")
    assert tor is not None, "tor is not installed"
    found = subprocess.run(
        [tor, "--verify-config", "-f", "torrc", "--defaults-torrc", "defaults"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"HOME": str(tmp_path)},
    )  # fmt: skip

    assert found.returncode == 0, found.stdout
