"""The widget as a user sees it in a page: what it says, and where to click."""

import re

from playwright.sync_api import Locator, Page, expect


class Panel:
    """One `PatchLab` in a page, found by its `data-pw` attributes."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root = self.part("root", page)
        expect(self.root).to_be_visible(timeout=30_000)

    def part(self, name: str, within: Page | Locator | None = None) -> Locator:
        return (within or self.root).locator(f'[data-pw="{name}"]')

    @property
    def grid(self) -> Locator:
        return self.part("grid")

    @property
    def heads(self) -> Locator:
        return self.part("detail-grid")

    @property
    def status(self) -> Locator:
        return self.part("status")

    def wait_until_done(self) -> None:
        expect(self.status).to_have_text(re.compile(r"\d+ cells"), timeout=60_000)

    def open_heads(self, *, layer: int, pos: int) -> None:
        """Click a cell of the main grid and wait until its heads are measured."""
        self.click(self.grid, row=layer, col=pos)
        expect(self.part("crumb")).to_contain_text(f"layer {layer} ")
        expect(self.part("detail-status")).to_have_text(f"z at position {pos}")

    def open_attention(self, *, layer: int, head: int) -> None:
        """Click a head and wait for its attention row."""
        self.click(self.heads, row=layer, col=head)
        expect(self.part("attention")).to_be_visible()
        expect(self.part("attention")).to_contain_text(f"{layer}.{head}")

    def click(self, grid: Locator, *, row: int, col: int) -> None:
        """Click the middle of a cell; row 0 is drawn at the bottom."""
        x, y = self.centre(grid, row=row, col=col)
        self.page.mouse.click(x, y)

    def centre(self, grid: Locator, *, row: int, col: int) -> tuple[float, float]:
        """The middle of a cell, in the page's pixels."""
        canvas = grid.locator("canvas").first
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        data = {name: float(grid.get_attribute(f"data-{name}") or "nan") for name in ("rows", "x0", "y0", "cell-w", "cell-h")}
        x = data["x0"] + (col + 0.5) * data["cell-w"]
        y = data["y0"] + (data["rows"] - 1 - row + 0.5) * data["cell-h"]
        return box["x"] + x, box["y"] + y
