"""What OMEMO costs: ours, the bare library and omemo-dr on the same work.

    python benchmarks/encryption.py [--rounds 3] [--devices 1 10 50 100]

What is measured, and how, is in ``crypto/measure.py``.
"""

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent / "crypto"

if __name__ == "__main__":
    sys.path[0] = str(HERE)
    runpy.run_path(str(HERE / "measure.py"), run_name="__main__")
