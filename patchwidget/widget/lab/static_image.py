"""A still picture of the main grid, beside the live widget in the notebook: what readers without a kernel see.

It is an image in an HTML output of its own. JupyterLab ignores the HTML in a live widget's output; it shows an image even in a notebook that
it does not trust. While the widget lives, the page hides it.
"""

import base64
import html
import struct
import zlib
from typing import Any

import numpy as np
from IPython.display import display, publish_display_data

from patchwidget.experiments.results.data import ESTIMATE, EXACT

from .views import Axis, GridView

CELL, LARGEST = 18, 640  # pixels
_FONT = "system-ui, sans-serif"
# ColorBrewer's RdBu, from blue (harm) to red (recovery); safe for colour-blind readers
_STOPS = np.array([[33, 102, 172], [146, 197, 222], [247, 247, 247], [244, 165, 130], [178, 24, 43]], float)
_UNKNOWN = (214, 214, 220)
# of a cell: down and right to the neighbour beyond, and from where to where
_SIDES = ((-1, 0, ((0, 0), (1, 0))), (1, 0, ((0, 1), (1, 1))), (0, -1, ((0, 0), (0, 1))), (0, 1, ((1, 0), (1, 1))))


class Picture:
    """The picture of one lab, in every place where the lab is displayed; `name` is the lab's id."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shown = False

    def display_under(self, widget: Any) -> None:
        """Display a widget, and the picture in an output under it."""
        data, metadata = widget._repr_mimebundle_()
        publish_display_data(data, metadata)
        self._shown = True
        display({"text/html": ""}, raw=True, display_id=self._name)

    def show(self, grid: GridView, title: str) -> None:
        """Draw a grid, wherever the picture is displayed."""
        if self._shown and grid.known:
            picture = picture_of(grid, title)
            publish_display_data({"text/html": self._element(picture, title)}, transient={"display_id": self._name}, update=True)

    def _element(self, svg: str, title: str) -> str:
        source = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
        # in a trusted notebook the style takes away what JupyterLab says of a widget without a kernel
        style = ".jp-OutputArea:has(.patchwidget-picture) .jp-OutputArea-output.jupyter-widgets:not(:has(*)) { display: none }"
        return (
            f'<style>{style}</style><div class="patchwidget-picture" data-lab="{self._name}">'
            f'<img src="{source}" alt="{html.escape(title)}" style="max-width: 100%"></div>'
        )


def picture_of(grid: GridView, title: str) -> str:
    """A grid as SVG: its title, cells, labels and scale."""
    rows, cols = grid.rows.size, grid.cols.size
    cell = max(1, min(CELL, LARGEST // max(rows, cols)))
    left, top, width, height = 60, 58, max(cols * cell * 2 if cols <= 24 else cols * cell, 200), rows * cell
    known = np.isin(grid.state, [EXACT, ESTIMATE]) & np.isfinite(grid.recovery)
    limit = max(1.0, float(np.abs(grid.recovery[known]).max())) if known.any() else 1.0
    neutral = 0.0 if grid.question.setting.direction == "denoise" else 1.0
    colours = colour(grid.recovery, limit, neutral)
    colours[~known] = _UNKNOWN
    image = colours.reshape(rows, cols, 3)
    upwards = grid.rows.name == "layer"
    png = base64.b64encode(png_of(image[::-1] if upwards else image)).decode()
    parts = [
        _text(left, 20, grid.title, size=14, weight=600),
        _text(left, 38, title, size=11, fill="#777"),
        f'<image href="data:image/png;base64,{png}" x="{left}" y="{top}" width="{width}" height="{height}" '
        'preserveAspectRatio="none" style="image-rendering: pixelated"/>',
    ]
    if grid.significant is not None:
        parts.append(_outline(grid.significant.reshape(rows, cols)[:: -1 if upwards else 1], (left, top), (width / cols, cell)))
    for row in _spread(rows, max(1, 12 // cell)):
        y = top + (rows - row - 0.5 if upwards else row + 0.5) * cell + 4
        parts.append(_text(left - 6, y, _label(grid.rows, row), anchor="end"))
    for col in _spread(cols, max(1, round(14 * cols / width))):
        x = left + (col + 0.5) * width / cols
        parts.append(
            f'<g transform="translate({x:.1f} {top + height + 10}) rotate(-50)">{_text(0, 0, _label(grid.cols, col), anchor="end")}</g>'
        )
    bottom = top + height + 90
    ramp = base64.b64encode(png_of(colour(np.linspace(-limit, limit, 101) + neutral, limit, neutral)[None])).decode()
    parts += [
        f'<image href="data:image/png;base64,{ramp}" x="{left}" y="{bottom}" width="160" height="8" preserveAspectRatio="none"/>',
        _text(left, bottom + 22, f"{neutral - limit:.2g}"),
        _text(left + 80, bottom + 22, f"{neutral:.2g}", anchor="middle"),
        _text(left + 160, bottom + 22, f"{neutral + limit:.2g}", anchor="end"),
        _text(left + 172, bottom + 8, "recovery; grey is not known" + _estimates(grid)),
        _text(left, bottom + 40, grid.outlined),
    ]
    size = f'width="{max(left + width, len(grid.outlined) * 6 + left) + 20}" height="{bottom + (50 if grid.outlined else 34)}"'
    background = f'<rect {size} fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_FONT}">{background}{"".join(parts)}</svg>'


def _outline(marked: np.ndarray, origin: tuple[int, int], cell: tuple[float, float]) -> str:
    """The border around marked cells, [lines, columns] from the top: with a seam, so that it is seen beside every colour."""
    around, path = np.pad(marked, 1), []
    for line, col in np.argwhere(marked):
        for down, right, ends in _SIDES:
            if not around[line + 1 + down, col + 1 + right]:
                points = ((origin[0] + (col + x) * cell[0], origin[1] + (line + y) * cell[1]) for x, y in ends)
                path.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points))
    line = f'<path d="{"".join(path)}" fill="none" stroke-linecap="square"'
    return f'{line} stroke="#fff" stroke-width="3.5"/>{line} stroke="#222" stroke-width="1.5"/>'


def colour(recovery: np.ndarray, limit: float, neutral: float) -> np.ndarray:
    """uint8 [n, 3]: white where a patch does nothing, red towards the clean run, blue away from it."""
    place = np.clip((np.nan_to_num(recovery) - neutral) / limit, -1, 1) * 2 + 2
    return np.stack([np.interp(place, range(5), _STOPS[:, i]) for i in range(3)], -1).round().astype(np.uint8)


def png_of(image: np.ndarray) -> bytes:
    """A PNG of uint8 [height, width, 3]."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = image.shape
    lines = b"".join(b"\0" + line.tobytes() for line in np.ascontiguousarray(image))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def _estimates(grid: GridView) -> str:
    return "; some cells are estimates" if (grid.state == ESTIMATE).any() else ""


def _spread(size: int, step: int) -> range:
    return range(0, size, step)


def _label(axis: Axis, place: int) -> str:
    text = str(axis.value(place)) if axis.labels is None else axis.labels[place]
    return text.replace(" ", "·").replace("\n", "⏎")


def _text(x: float, y: float, text: str, *, size: int = 11, anchor: str = "start", fill: str = "#333", weight: int = 400) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{fill}">{html.escape(text)}</text>'
