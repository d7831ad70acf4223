"""What OMEMO costs: ours, the bare library and omemo-dr on the same work.

    python benchmarks/omemo.py [--rounds 3] [--devices 1 10 50 100]

What is measured, and how, is in ``crypto/measure.py``.
"""

import importlib
import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent / "crypto"

if __name__ == "__main__":
    # Beside this file, which has its name, the library would not be found.
    sys.path[0] = str(HERE)
    runpy.run_path(str(HERE / "measure.py"), run_name="__main__")
else:
    # Another program of this folder means the library: let it be found first.
    sys.path.append(sys.path.pop(sys.path.index(str(HERE.parent))))
    del sys.modules[__name__]
    importlib.import_module(__name__)
