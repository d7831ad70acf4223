"""What things cost over a slow network, measured beside others on this machine.

`xmpp-onion bench` shows it; ``benchmarks/`` measures more, from a checkout.
"""
