"""``python -m xmpp_onion`` is ``xmpp-onion``."""


def main() -> None:
    """Run the command that was typed, and exit with its code."""
    try:
        from xmpp_onion.cli.main import main as run  # noqa: PLC0415 - takes a tenth of a second
    except KeyboardInterrupt:  # while it was loaded
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
