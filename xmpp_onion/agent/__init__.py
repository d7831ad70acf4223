"""One process holds an account; others on this machine ask it through a socket.

The holder (``listen``, ``bot run``) serves the profile's unix socket, mode 0600 in a
folder of mode 0700, so ``send``, ``trust`` and the like work beside it. One request
is one line of JSON; the answer is the lines that the command prints with ``--json``.

An agent lends the account to a talk: ``agent.keeper`` and ``agent.loan``.

Import the side you need: ``agent.caller`` is light, ``agent.desk`` brings the client.
"""
