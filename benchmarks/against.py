"""How fast this checkout is beside another one of patchwidget, such as a commit before a change, in one run.

git worktree add ../before <commit>
make -C ../before patchwidget/widget/static/widget.js
python -m benchmarks.against ../before

Both run with this environment's Python, one after the other in turns: other, this, other, ... Each turn is a process of its own. The best of
each counts, and the ratio of the two.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[1]

# what a turn runs in either checkout, by that checkout's own benchmarks; it ends with one line of JSON, name -> seconds
SWEEP = """
import json
import patchwidget as pw
from benchmarks.sweep import PAIRS, sweep_afresh, timed
model = pw.load()
def best(work):
    return min(timed(work)[0] for _ in range(5))
found = {f"sweep, {name}": best(lambda: sweep_afresh(model, pair)) for name, pair in PAIRS.items()}
exp = pw.Experiment(model, PAIRS["indirect object"])
exp.sweep("resid_pre", progress=False)
found["heads at one position"] = best(lambda: exp.sweep("z", positions=[13], progress=False).values.to_numpy())
print(json.dumps(found))
"""
LATENCY = """
import json, tempfile
from pathlib import Path
from playwright.sync_api import sync_playwright
from benchmarks.latency import measure
from scripts import chromium
from tests.e2e.server import demo_server
with tempfile.TemporaryDirectory() as home, demo_server(Path(home)) as server, sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox", "--disable-gpu"])
    first, clicks = measure(server, browser, "latency.ipynb")
    browser.close()
print(json.dumps({"first numbers": first / 1000, "click": sorted(clicks)[len(clicks) // 2] / 1000}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Time this checkout against another one.")
    parser.add_argument("other", type=Path, help="the other checkout, with its front end built")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    found: dict[str, tuple[list[float], list[float]]] = {}
    for work in (SWEEP, LATENCY):
        for _ in range(options.turns):
            for number, checkout in enumerate((options.other.resolve(), HERE)):
                for name, seconds in turn(checkout, work).items():
                    found.setdefault(name, ([], []))[number].append(seconds)
    print(f"{'':32}{'other, s':>10}{'this, s':>10}{'ratio':>8}")
    for name, (other, this) in found.items():
        print(f"{name:32}{min(other):10.3f}{min(this):10.3f}{min(this) / min(other):8.3f}")


def turn(checkout: Path, work: str) -> dict[str, float]:
    """Seconds by name, as a process in this checkout measures them."""
    run = subprocess.run(
        [sys.executable, "-c", work],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(run.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
