"""Draw the plots of docs/, from what was measured.

    xmpp-onion bench --out DIR
    python benchmarks/rooms.py --figures DIR/rooms.jsonl …
    python benchmarks/plots.py DIR/*.jsonl --note "where and when" --out docs/plots/

A file has the lines of ``--json``.
"""

import argparse
import json
from pathlib import Path

from xmpp_onion.bench.figures import Figure
from xmpp_onion.bench.report import plots


def main(chosen: argparse.Namespace) -> None:
    """Draw all that can be drawn, and say what was."""
    lines = [
        json.loads(line)
        for path in chosen.files
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    figures = [
        Figure.from_line(line) for line in lines if line.get("event") == "figure"
    ]
    for name, text in plots(chosen.note, figures).items():
        path = chosen.out / name
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--note", required=True)
    parser.add_argument("--out", type=Path, required=True)
    main(parser.parse_args())
