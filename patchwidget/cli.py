"""The command line: `patchwidget demo` opens the example notebooks in JupyterLab."""

import argparse
import importlib.util
import os
import sys
from pathlib import Path

from patchwidget._version import __version__
from patchwidget.errors import PatchError

FIRST_NOTEBOOK = "quickstart.ipynb"
_LAST_PORT = 65535


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(argv)
    try:
        options.run(options)
    except PatchError as error:
        print(f"patchwidget: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="patchwidget", description="Activation patching in a notebook.")
    parser.add_argument("--version", action="version", version=f"patchwidget {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "demo",
        help="open the example notebooks in JupyterLab",
        description="Copy the example notebooks into a folder of yours and open JupyterLab there.",
    )
    command.add_argument("--dir", type=Path, default=Path("patchwidget-examples"), help="where the examples go (default: %(default)s)")
    command.add_argument("--port", type=_port, help="the port to serve on (default: 8888, or the next that is free)")
    command.add_argument("--no-browser", action="store_true", help="do not open a browser")
    command.add_argument("--token", help="the server's token; '' for none (default: a random one)")
    command.set_defaults(run=demo)
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 1 to {_LAST_PORT}")
    return int(text)


def demo(options: argparse.Namespace) -> None:
    """Copy the examples and run JupyterLab on the first until it is stopped. Raises PatchError where a part is missing."""
    from patchwidget.models.default_model import gguf_file

    if importlib.util.find_spec("jupyterlab") is None:
        raise PatchError("JupyterLab is not installed.", 'Run: pip install "patchwidget[demo]"')
    gguf_file()
    copy_examples(options.dir)

    from jupyterlab.labapp import LabApp

    LabApp.launch_instance(lab_arguments(options))


def copy_examples(folder: Path) -> None:
    """Copy the example notebooks into `folder`; a notebook that is there already and differs is the user's and stays."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for example in sorted(examples_folder().glob("*.ipynb")):
            copy = folder / example.name
            if not copy.exists():
                copy.write_bytes(example.read_bytes())
            elif copy.read_bytes() != example.read_bytes():
                print(f"Keeping your {copy}: it has changed. Delete it to get the original again.")
    except OSError as error:
        raise PatchError(f"The examples cannot be copied to {folder}: {error}.", "Name another folder with --dir.") from error


def examples_folder() -> Path:
    """Inside the package where it is installed, beside it in a checkout."""
    package = Path(__file__).parent
    return next(folder for folder in (package / "examples", package.parent / "examples") if folder.is_dir())


def lab_arguments(options: argparse.Namespace) -> list[str]:
    arguments = [f"--ServerApp.root_dir={options.dir.resolve()}", f"--LabApp.default_url=/lab/tree/{FIRST_NOTEBOOK}"]
    if options.port is not None:
        arguments += [f"--ServerApp.port={options.port}", "--ServerApp.port_retries=0"]
    if options.token is not None:
        arguments += [f"--IdentityProvider.token={options.token}"]
    if options.no_browser:
        arguments += ["--no-browser"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments += ["--allow-root"]
    return arguments


if __name__ == "__main__":
    sys.exit(main())
