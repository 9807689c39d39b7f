"""Part of the build: makes the front end's bundle where it is missing or older than its sources, so that elsewhere no Node is needed."""

from hatch_jupyter_builder import npm_builder
from hatch_jupyter_builder.utils import is_stale


def build(target_name: str, version: str, *, path: str, source_dir: str, build_dir: str) -> None:
    # npm_builder knows what is stale, too, but looks for npm first
    if is_stale(build_dir, source_dir):
        npm_builder(target_name, version, path=path, npm="npm", build_cmd="build")
