"""What every test has: a home of its own, and Hypothesis without a stop-watch."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A slow machine is no bug: nothing here is asserted about time.
settings.register_profile("house", deadline=None, print_blob=True)
# For a night: XMPP_ONION_HYPOTHESIS=long
settings.register_profile("long", settings.get_profile("house"), max_examples=5000)
PROFILE = os.environ.get("XMPP_ONION_HYPOTHESIS", "house")
settings.load_profile(PROFILE)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _own_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test sees or touches the accounts of whoever runs it."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in ("DATA", "CONFIG", "STATE", "CACHE"):
        monkeypatch.delenv(f"XDG_{name}_HOME", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
