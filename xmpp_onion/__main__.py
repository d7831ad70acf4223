"""``python -m xmpp_onion`` is ``xmpp-onion``."""

import signal


def main() -> None:
    """Run the command that was typed, and exit with its code."""
    # While it is loaded nothing has begun that would have to be cleaned up, and a
    # library that was loaded by half says stranger things than that it was interrupted.
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from xmpp_onion.cli.main import main as run  # noqa: PLC0415 - see above

    signal.signal(signal.SIGINT, before)
    run()


if __name__ == "__main__":
    main()
