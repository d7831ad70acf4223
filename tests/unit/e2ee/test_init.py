"""The package loads the OMEMO libraries only for those who need them."""

import subprocess
import sys

import pytest

from xmpp_onion import e2ee

_SCRIPT = """
import sys
from xmpp_onion.e2ee import Trust, TrustLevel, accepts
assert accepts(TrustLevel.TRUSTED)
print([name for name in ("omemo", "slixmpp_omemo", "xmlschema") if name in sys.modules])
"""


def test_the_trust_policies_come_without_the_libraries() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], check=True, capture_output=True, text=True
    )

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", e2ee.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(e2ee, name) is not None


def test_other_names_cannot() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = e2ee.nonsense
