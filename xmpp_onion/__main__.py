"""``python -m xmpp_onion`` is ``xmpp-onion``."""

from xmpp_onion.cli.main import main

if __name__ == "__main__":
    main()
