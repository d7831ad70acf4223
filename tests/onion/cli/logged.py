"""What a command logged, beside what it says to people."""

LEVELS = ("DEBUG ", "INFO ", "WARNING ", "ERROR ")


def assert_nobody_is_named(err: str, onion: str, *names: str) -> None:
    """Assert that what was logged at ``-vv`` shortens who, where and what.

    What a command says to people stands beside it on stderr, and may name them.
    """
    logged = [line for line in err.splitlines() if line.startswith((*LEVELS, "  "))]
    assert any(line.startswith("DEBUG ") for line in logged), err
    told = (onion.removesuffix(".onion"), *names)
    assert [line for line in logged if any(name in line for name in told)] == []
