from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


@pytest.mark.parametrize("program", ["", "'unbalanced", "no-such-program x"])
@pytest.mark.usefixtures("account")
def test_a_program_that_cannot_be_run_is_a_usage_error(
    command: "Command", program: str
) -> None:
    done = command("listen", "--exec", program, "--json")

    (line,) = done.lines
    assert (done.code, line["code"]) == (2, 2)
    assert "--exec" in str(line["what"])
