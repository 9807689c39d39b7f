"""The citation and the changelog name the version that the package has."""

import re
from pathlib import Path

from patchwidget._version import __version__

ROOT = Path(__file__).parents[2]


def test_the_citation_is_of_this_version():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_changelog_goes_by_versions():
    headings = re.findall(r"^(##+) (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    versions = [text for level, text in headings if level == "##"]
    assert versions[0].split()[0] == __version__
    assert all(re.match(r"\d+\.\d+\.\d+ \(.+\)$", version) for version in versions), versions
    assert {text for level, text in headings if level == "###"} <= {"Added", "Changed", "Fixed"}
