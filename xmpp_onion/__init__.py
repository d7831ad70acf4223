"""Private messaging carried only by Tor onion services: XMPP with OMEMO."""
