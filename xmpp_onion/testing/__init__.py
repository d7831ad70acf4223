"""What you need to test software that lives behind onion services.

`TorNetwork` is a real Tor network on loopback: nothing leaves the machine.
`FakeServer` is a bot's world in memory, without a network.
`ChaosProxy` stands between a program and Tor and makes the way long and bad.
`xmpp_onion.testing.leak` runs a program and tells where it tried to send something.
"""

from xmpp_onion.testing.chaos import ChaosProxy, Direction
from xmpp_onion.testing.fake_server import FakeServer
from xmpp_onion.testing.tornet import TorNetwork
from xmpp_onion.testing.tortemplate import default_template

__all__ = ["ChaosProxy", "Direction", "FakeServer", "TorNetwork", "default_template"]
