"""What every test has: a home of its own, and Hypothesis without a stop-watch."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# A slow machine is no bug: nothing here is asserted about time.
settings.register_profile("house", deadline=None, print_blob=True)
# For a night: XMPP_ONION_HYPOTHESIS=long
settings.register_profile("long", settings.get_profile("house"), max_examples=5000)
PROFILE = os.environ.get("XMPP_ONION_HYPOTHESIS", "house")
settings.load_profile(PROFILE)


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs that tests start, whoever started the tests.

    A shell has what it runs in the background ignore it, and so would they. What has
    a handler here is theirs to decide; we go on ignoring it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda _number, _frame: None)


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
