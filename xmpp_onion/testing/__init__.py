"""What you need to test software that lives behind onion services.

`TorNetwork` is a real Tor network on loopback: nothing leaves the machine.
"""

from xmpp_onion.testing.tornet import TorNetwork
from xmpp_onion.testing.tortemplate import default_template

__all__ = ["TorNetwork", "default_template"]
