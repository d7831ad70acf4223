"""The tests here share two modules that are no tests, and find them by name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
