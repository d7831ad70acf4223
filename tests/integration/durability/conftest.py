"""The programs here are run by themselves too, so they import each other by name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
