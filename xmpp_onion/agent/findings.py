"""What ``xmpp-onion doctor`` finds, as a line."""

from xmpp_onion.chat import Line
from xmpp_onion.errors import XmppOnionError

__all__ = ["check_line"]


def check_line(name: str, finding: str | XmppOnionError) -> Line:
    """Return one finding: words if all is well, else the error."""
    error = finding if isinstance(finding, XmppOnionError) else None
    return {
        "v": 1,
        "event": "check",
        "name": name,
        "ok": error is None,
        "what": finding if isinstance(finding, str) else finding.what,
        "why": error.why if error else "",
        "fix": error.fix if error else "",
        "code": error.exit_code if error else 0,
    }
