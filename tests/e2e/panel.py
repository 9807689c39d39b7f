"""The widget as a user sees it in a page: what it says, and where to click."""

import re

from playwright.sync_api import Locator, Page, expect


class Panel:
    """One `PatchLab` in a page, found by its `data-pw` attributes."""

    def __init__(self, page: Page, nth: int = 0) -> None:
        """The `nth` panel of the page."""
        self.page = page
        self.root = self.part("root", page).nth(nth)
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
        expect(self.status).to_have_text(re.compile(r"^\d+ cells"), timeout=60_000)

    def open_heads(self, *, layer: int, pos: int) -> None:
        """Click a cell of the main grid and wait until its heads are measured."""
        self.click(self.grid, row=layer, col=pos)
        expect(self.heads).to_have_attribute("aria-label", re.compile(rf"^Heads at .* \({pos}\)$"))
        self.wait_for_detail()

    def expect_at(self, *, layer: int, pos: int) -> None:
        """All that names the cell of the main grid at which one stands, names this one."""
        place = re.compile(rf"^layer {layer} at .*\({pos}\)")
        expect(self.part("steps").locator(".pw-step-place").first).to_have_text(place)
        expect(self.cell(self.grid)).to_have_attribute("aria-label", re.compile(rf"^layer {layer}, token .* \({pos}\)"))

    def back_to(self, crumb: str) -> None:
        """Go back by the breadcrumb."""
        self.part("crumb").get_by_role("button", name=crumb, exact=True).click()

    def open_attention(self, *, layer: int, head: int) -> None:
        """Click a head and wait for its attention row."""
        self.click(self.heads, row=layer, col=head)
        expect(self.part("attention")).to_be_visible()
        expect(self.part("attention")).to_contain_text(f"{layer}.{head}")

    def take(self, label: str) -> None:
        """Take one of the steps that are offered."""
        self.part("steps").get_by_role("button", name=label, exact=True).last.click()

    def wait_for_detail(self) -> None:
        expect(self.part("detail-status")).to_have_text(re.compile(r"^\d+ cells"), timeout=60_000)

    def choose(self, menu: str, value: str) -> None:
        """Choose from one of the menus: pairs, site, metric or direction."""
        self.part(menu).select_option(value)

    def cell(self, grid: Locator) -> Locator:
        """The one cell of a grid that the cursor is at."""
        return grid.get_by_role("gridcell")

    def click(self, grid: Locator, *, row: int, col: int) -> None:
        """Click the middle of a cell."""
        x, y = self.centre(grid, row=row, col=col)
        self.page.mouse.click(x, y)

    def centre(self, grid: Locator, *, row: int, col: int) -> tuple[float, float]:
        """The middle of a cell, in the page's pixels."""
        canvas = grid.locator("canvas").first
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        data = {name: float(grid.get_attribute(f"data-{name}") or "nan") for name in ("rows", "x0", "y0", "cell-w", "cell-h")}
        down = data["rows"] - 1 - row if grid.get_attribute("data-top") == "last" else row
        return box["x"] + data["x0"] + (col + 0.5) * data["cell-w"], box["y"] + data["y0"] + (down + 0.5) * data["cell-h"]
