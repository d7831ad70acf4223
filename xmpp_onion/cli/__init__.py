"""The commands of ``xmpp-onion``: thin, each a few calls of what lies below."""
