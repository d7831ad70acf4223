"""Bring up loopback in a network namespace of our own, then become a command.

``scripts/test`` runs the onion tests so: where only loopback exists, whatever
would leave the machine fails instead. Debian's smallest system has no ``ip``.

Source: netdevice(7) for the request; prctl(2) and capabilities(7) for the rights.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4


def raise_loopback() -> None:
    """Give this namespace its loopback interface, 127.0.0.1 and ::1."""
    request = struct.pack("16sH14x", b"lo", _IFF_UP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)


def drop_rights() -> None:
    """Let the command start without the rights that an ordinary user lacks.

    ``unshare --keep-caps`` hands us all rights inside the namespace; a test that
    expects to be refused a file would not be.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot drop capabilities")


if __name__ == "__main__":
    interfaces = [name for _, name in socket.if_nameindex()]
    if interfaces != ["lo"]:
        sys.exit(f"this is no empty network namespace: it has {interfaces}")
    raise_loopback()
    drop_rights()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - becoming it is the point
