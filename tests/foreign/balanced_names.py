"""Prints the first of the names given that Onionbalance 0.2.4 can publish, by its code.

    python balanced_names.py CONTROL_PORT NAME.onion…

A program of its own, because only Onionbalance's environment has Onionbalance. Where
the circle of directories ends within those of a name, its ``get_responsible_hsdirs``
takes the first one of the circle twice, finds too few and gives up: on the network of
our tests for one name of two or three.
"""

import sys

from onionbalance.hs_v3 import consensus, hashring, stem_controller
from onionbalance.hs_v3.onionbalance import my_onionbalance
from stem.descriptor.hidden_service import HiddenServiceDescriptorV3, _blinded_pubkey


def can_publish(name):
    """Whether both descriptors of a name have all their directories."""
    key = HiddenServiceDescriptorV3.identity_key_from_address(name)
    for is_first in (True, False):
        _, period = hashring.get_srv_and_time_period(is_first)
        blinding = my_onionbalance.consensus.get_blinding_param(key, period)
        try:
            hashring.get_responsible_hsdirs(_blinded_pubkey(key, blinding), is_first)
        except hashring.EmptyHashRing:
            return False
    return True


my_onionbalance.controller = stem_controller.StemController(
    address="127.0.0.1", port=int(sys.argv[1]), socket="/nonexistent"
)
my_onionbalance.consensus = consensus.Consensus()
print(next(name for name in sys.argv[2:] if can_publish(name)))
