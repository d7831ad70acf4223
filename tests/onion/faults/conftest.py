"""Peers and judge are those of the runs without Tor."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "integration" / "durability")]
