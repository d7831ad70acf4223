"""Our memory, keys included, stays in memory."""

import resource

__all__ = ["forbid_core_dumps"]


def forbid_core_dumps() -> None:
    """Let no crash write our memory into a file. Children inherit it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
