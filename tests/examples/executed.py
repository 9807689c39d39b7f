"""A notebook of the examples, run from top to bottom on the default model."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"


def executed(name: str, more: str) -> nbformat.NotebookNode:
    """The notebook after it has run, with one more cell at its end; it is kept without outputs."""
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    notebook.cells.append(nbformat.v4.new_code_cell(more))
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    return notebook


def text_of(notebook: nbformat.NotebookNode) -> str:
    """All that it prints and shows as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [output.text if output.output_type == "stream" else output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join(texts)
