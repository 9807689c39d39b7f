import json
import os
import runpy
import subprocess
import sys

import nbformat
import pytest

from patchwidget import cli
from patchwidget._version import __version__
from patchwidget.models import default_model


def options(tmp_path, *arguments):
    return cli._parser().parse_args(["demo", "--dir", str(tmp_path / "examples"), *arguments])


@pytest.fixture
def no_server(monkeypatch):
    """JupyterLab's start, recorded instead of done."""
    labapp = pytest.importorskip("jupyterlab.labapp")
    starts = []
    monkeypatch.setattr(labapp.LabApp, "launch_instance", starts.append)
    return starts


def test_demo_starts_jupyterlab_on_the_first_notebook(tmp_path, no_server):
    assert cli.main(["demo", "--dir", str(tmp_path / "mine"), "--no-browser", "--port", "8899", "--token", ""]) == 0
    (arguments,) = no_server
    assert f"--ServerApp.root_dir={tmp_path / 'mine'}" in arguments
    assert "--LabApp.default_url=/lab/tree/quickstart.ipynb" in arguments
    assert "--ServerApp.port=8899" in arguments
    assert "--IdentityProvider.token=" in arguments
    assert "--no-browser" in arguments
    assert ("--allow-root" in arguments) == (os.geteuid() == 0)
    assert (tmp_path / "mine" / "quickstart.ipynb").read_bytes() == (cli.examples_folder() / "quickstart.ipynb").read_bytes()


@pytest.mark.parametrize("port", ["0", "65536", "99999", "-1", "80.5", "web"])
def test_what_is_no_port(port, no_server, tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["demo", "--dir", str(tmp_path / "mine"), f"--port={port}"])
    assert f"'{port}' is no port: give a number from 1 to 65535" in capsys.readouterr().err
    assert no_server == []


def test_the_package_is_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["patchwidget", "--version"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("patchwidget", run_name="__main__")
    assert end.value.code == 0
    assert capsys.readouterr().out == f"patchwidget {__version__}\n"


def test_demo_leaves_the_defaults_to_jupyter(tmp_path):
    arguments = cli.lab_arguments(options(tmp_path))
    assert not [argument for argument in arguments if "port" in argument or "token" in argument or "browser" in argument]


def test_a_changed_notebook_is_kept_and_named(tmp_path, capsys):
    cli.copy_examples(tmp_path)
    cli.copy_examples(tmp_path)
    assert capsys.readouterr().out == ""
    (tmp_path / "quickstart.ipynb").write_text("mine")
    cli.copy_examples(tmp_path)
    assert (tmp_path / "quickstart.ipynb").read_text() == "mine"
    assert f"Keeping your {tmp_path / 'quickstart.ipynb'}" in capsys.readouterr().out


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path, no_server, capsys):
    (tmp_path / "examples").write_text("a file")
    assert cli.main(["demo", "--dir", str(tmp_path / "examples")]) == 1
    assert "Name another folder with --dir." in capsys.readouterr().err
    assert no_server == []


def test_missing_jupyterlab_names_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: None)
    assert cli.main(["demo", "--dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err == 'patchwidget: JupyterLab is not installed. Run: pip install "patchwidget[demo]"\n'


def test_missing_model_names_the_command(tmp_path, monkeypatch, no_server, capsys):
    monkeypatch.setattr(default_model.metadata, "files", lambda name: [])
    assert cli.main(["demo", "--dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"patchwidget: The default model is not installed. Run: {default_model.INSTALL}\n"
    assert no_server == []


def test_version(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"patchwidget {__version__}\n"


@pytest.mark.parametrize("path", sorted(cli.examples_folder().glob("*.ipynb")), ids=lambda path: path.name)
def test_examples_are_valid_and_stripped(path):
    notebook = json.loads(path.read_text())
    nbformat.validate(notebook)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert "widgets" not in notebook["metadata"]
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_the_command_line_does_not_wait_for_torch():
    slow = "{'torch', 'transformers', 'numpy', 'plotly'}"
    script = f"import sys, patchwidget, patchwidget.cli; sys.exit(' '.join({slow} & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", script], check=True)
