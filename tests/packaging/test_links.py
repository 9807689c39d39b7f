"""The repository's address: in what is built and in the files where the setting has one, and nowhere where it is empty."""

import re

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

from patchwidget._version import __version__
from scripts import links

ADDRESS = "https://github.com/someone/patchwidget"


@pytest.fixture
def project(tmp_path):
    """Makes a folder with all that the metadata are read from, and the setting as given."""

    def make(setting):
        for file in ("README.md", "LICENSE", "scripts/links.py", "patchwidget/_version.py"):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text((links.ROOT / file).read_text())
        content = (links.ROOT / "pyproject.toml").read_text()
        content, found = re.subn(r'^repository = ".*"$', f'repository = "{setting}"', content, flags=re.MULTILINE)
        assert found == 1
        (tmp_path / "pyproject.toml").write_text(content)
        return tmp_path

    return make


@pytest.mark.parametrize(("setting", "issues"), [("", None), (ADDRESS, f"{ADDRESS}/issues"), (f"{ADDRESS}/", f"{ADDRESS}/issues")])
def test_what_is_built_has_links_where_the_setting_has_an_address(project, setting, issues):
    metadata = ProjectMetadata(str(project(setting)), PluginManager())
    assert metadata.core.urls.get("Issues") == issues
    assert bool(metadata.core.urls) == bool(setting)
    assert not metadata.core.dynamic  # all that was promised is there
    assert metadata.version == __version__


@pytest.mark.parametrize("wrong", ["github.com/someone/patchwidget", "https://github.com", f"{ADDRESS} #"])
def test_an_address_that_is_none_is_refused(project, wrong):
    with pytest.raises(ValueError, match=r"write https://HOST/OWNER/NAME, or nothing"):
        links.repository(project(wrong))


@pytest.mark.parametrize("file", links.TEXTS)
def test_a_file_has_the_address_between_its_marks(file):
    content = (links.ROOT / file).read_text()
    without = links.linked(file, content, "")
    with_address = links.linked(file, content, ADDRESS)
    assert ADDRESS not in without
    assert with_address.replace(links.TEXTS[file].format(repository=ADDRESS), "") == without
    assert links.linked(file, with_address, ADDRESS) == with_address
    assert links.linked(file, with_address, "") == without


@pytest.mark.parametrize("file", links.TEXTS)
def test_the_files_are_as_the_setting_says(file):
    content = (links.ROOT / file).read_text()
    assert links.linked(file, content, links.repository()) == content, "run: python -m scripts.links"


def test_a_file_without_marks_is_refused():
    with pytest.raises(ValueError, match=r"SECURITY.md has 0 pairs"):
        links.linked("SECURITY.md", "# Security\n", ADDRESS)
