"""Every address of the repository, from one setting: `tool.patchwidget.repository` in pyproject.toml.

While it is empty there are no addresses, and everything builds. After a change, `python -m scripts.links` brings the files up to date;
what is built gets its links from the same setting by itself.
"""

import re
import tomllib
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

ROOT = Path(__file__).parents[1]
PAGES = {"Repository": "", "Issues": "/issues", "Changelog": "/blob/main/CHANGELOG.md"}
# what stands between a file's two marks once there is an address
TEXTS = {
    "README.md": "[![CI]({repository}/actions/workflows/ci.yml/badge.svg)]({repository}/actions/workflows/ci.yml)\n",
    "CITATION.cff": 'repository-code: "{repository}"\n',
    "SECURITY.md": "The form for it: <{repository}/security/advisories/new>\n",
    ".github/ISSUE_TEMPLATE/config.yml": (
        "contact_links:\n"
        "  - name: Something that endangers users\n"
        "    url: {repository}/security/advisories/new\n"
        "    about: Report it in private, please; see SECURITY.md.\n"
    ),
}
_MARKED = re.compile(r"(^[^\n]*\blinks: begin\b[^\n]*\n).*?(^[^\n]*\blinks: end\b)", re.MULTILINE | re.DOTALL)


class Links(MetadataHookInterface):
    """Hatchling's hook: gives what is built its `urls`."""

    def update(self, metadata: dict) -> None:
        metadata["urls"] = urls(repository(Path(self.root)))


def repository(root: Path = ROOT) -> str:
    """The setting: the repository's address without a slash at its end, or nothing.

    Raises:
        ValueError: it is no address.
    """
    address = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["patchwidget"]["repository"].rstrip("/")
    if address and not re.fullmatch(r"https://[\w.-]+(/[\w.-]+)+", address):
        raise ValueError(f"tool.patchwidget.repository in pyproject.toml is {address!r}: write https://HOST/OWNER/NAME, or nothing.")
    return address


def urls(repository: str) -> dict[str, str]:
    """The links on a package's page, by their names."""
    return {name: repository + path for name, path in PAGES.items()} if repository else {}


def linked(file: str, content: str, repository: str) -> str:
    """A file's content with what belongs between its marks.

    Raises:
        ValueError: it has not exactly one pair of marks.
    """
    between = TEXTS[file].format(repository=repository) if repository else ""
    content, found = _MARKED.subn(lambda marks: marks[1] + between + marks[2], content)
    if found != 1:
        raise ValueError(f"{file} has {found} pairs of the marks `links: begin` and `links: end`, and should have one.")
    return content


def main() -> None:
    for file in TEXTS:
        path = ROOT / file
        path.write_text(linked(file, path.read_text(), repository()))


if __name__ == "__main__":
    main()
