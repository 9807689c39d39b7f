"""Find a Chromium for the end-to-end tests, or bring one: `python -m scripts.chromium`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find() -> str | None:
    """The path of a Chromium that starts: the one on PATH, else the one that Playwright has downloaded, else None."""
    candidates = [path for name in NAMES if (path := shutil.which(name))]
    if not any(map(starts, candidates)):
        candidates.append(_playwrights())
    return next(filter(starts, candidates), None)


def starts(path: str) -> bool:
    """Whether it runs at all: a snap's stand-in, or one without its libraries, does not."""
    if not Path(path).exists():
        return False
    return subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0


def _playwrights() -> str:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


def bring() -> None:
    """Download Playwright's Chromium; where that cannot be had or does not start, install Debian's (needs root)."""
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    if find() is None and shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update"], check=False)
        subprocess.run(["apt-get", "install", "--yes", "--no-install-recommends", "chromium"], check=False)


def main() -> None:
    if find() is None:
        bring()
    path = find()
    if path is None:
        sys.exit(
            "The end-to-end tests need a Chromium: none on PATH starts, Playwright's download failed, and Debian's package could not be "
            "installed. Install one so that `chromium` is on PATH."
        )
    print(f"Chromium: {path}")


if __name__ == "__main__":
    main()
