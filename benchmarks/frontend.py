"""Frames of the panels while one hovers, pans and drags: `python -m benchmarks.frontend`.

The development pages of js/ with a made-up kernel, in a real Chromium: a grid of 48 layers x 512 tokens, a list of
16,384 neurons, and the strength slider of the steering panel, which is dragged through 100 of its steps to and fro. The
pointer and the wheel are driven as fast as the browser takes them for some seconds, while the page counts its frames.
`idle` counts them with nothing going on: more than that no page can have on the machine at hand. Of the drag it is also
told in how many frames the bars were drawn anew, and how many messages went to the kernel: none.
"""

import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, sync_playwright

from scripts import chromium

ROOT = Path(__file__).parents[1]
SECONDS = 4.0

COUNT = """seconds => new Promise(done => {
    const gaps = [];
    const start = performance.now();
    let last = start;
    const frame = now => {
        gaps.push(now - last);
        last = now;
        if (now - start < 1000 * seconds) requestAnimationFrame(frame);
        else done(gaps.slice(1));
    };
    requestAnimationFrame(frame);
})"""


def main() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["node", "build.mjs", "--serve"], cwd=ROOT / "js", env={**os.environ, "PORT": str(port)}, stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    server.stdout.readline()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            page.goto(f"http://127.0.0.1:{port}/?case=wide&pace=1&neurons=16384")
            page.wait_for_function("document.querySelector('[data-pw=status]')?.textContent === '24576 cells'")
            grid = page.locator('[data-pw="grid"]')
            print(f"{'':34}{'frames/s':>9}{'median ms':>11}{'95 % ms':>9}{'over 25 ms':>12}")
            report("idle", page, lambda _: time.sleep(0.05))
            report("48 x 512 grid, hovering", page, hovering(page, grid))
            report("48 x 512 grid, panning", page, panning(page, grid, sideways=True), lambda: grid.get_attribute("data-x0"))
            page.mouse.click(*middle(grid))
            page.locator('[data-step="neurons"]').click()
            page.wait_for_function("document.querySelector('[data-pw=detail-status]')?.textContent === '16384 cells'")
            neurons = page.locator('[data-pw="detail-grid"]')
            report("16,384 neurons, hovering", page, hovering(page, neurons))
            report("16,384 neurons, panning", page, panning(page, neurons, sideways=False), lambda: neurons.get_attribute("data-y0"))
            page.goto(f"http://127.0.0.1:{port}/steer.html")
            drag_the_strength(page)
            browser.close()
    finally:
        server.terminate()


def report(name: str, page: Page, act: Callable[[int], None], moved: Callable[[], str | None] | None = None) -> None:
    """Count frames while something is done over and over; `moved` tells where the cells are, to see that they do move."""
    places = set()
    page.evaluate(f"window.counted = ({COUNT})({SECONDS})")
    end = time.monotonic() + SECONDS
    step = 0
    while time.monotonic() < end:
        act(step)
        if moved:
            places.add(moved())
        step += 1
    if moved and len(places) < 20:
        raise RuntimeError(f"{name}: the cells were seen at {len(places)} places only, so nothing was panned.")
    gaps = sorted(page.evaluate("window.counted"))
    rate = 1000 * len(gaps) / sum(gaps)
    late = sum(gap > 25 for gap in gaps)
    print(f"{name:34}{rate:9.1f}{gaps[len(gaps) // 2]:11.1f}{gaps[int(0.95 * len(gaps))]:9.1f}{late:6} of {len(gaps)}")


def drag_the_strength(page: Page) -> None:
    """The steering panel: the slider's thumb is held and moved a step at a time."""
    page.wait_for_function("document.querySelector('[data-pw=\"text-steered\"]')?.dataset.status === 'done'")
    page.wait_for_timeout(7000)  # a page says hello for some seconds
    slider, bars = page.locator('[data-pw="strength"]').first, page.locator('[data-pw="next-tokens"]')
    left, top, width, height = box_of(slider)
    step_width = (width - 14) / 200  # half a thumb is outside at either end
    at_zero, across = left + width / 2, top + height / 2

    def drag(step: int) -> None:
        page.mouse.move(at_zero + step_width * (abs(step % 200 - 100) - 50), across)

    drag(50)
    page.mouse.down()
    drag(51)
    sent, drawn = page.evaluate("sent.length"), int(bars.get_attribute("data-frames") or 0)
    report("strength slider, dragging", page, drag, lambda: slider.get_attribute("data-strength"))
    drawn = int(bars.get_attribute("data-frames") or 0) - drawn
    messages = page.evaluate("sent.length") - sent
    page.mouse.up()
    print(f"{'':34}bars drawn anew {drawn} times, {messages} messages to the kernel")
    if messages:
        raise RuntimeError("Dragging the strength asked something of the kernel.")


def hovering(page: Page, grid: Locator) -> Callable[[int], None]:
    """Goes to and fro over the cells in sight."""
    left, top, width, height = area(grid)
    return lambda step: page.mouse.move(left + 37 * step % width, top + 11 * step % height)


def panning(page: Page, grid: Locator, *, sideways: bool) -> Callable[[int], None]:
    """Turns the wheel over the cells, one way and back."""
    page.mouse.move(*middle(grid))

    def turn(step: int) -> None:
        by = 60 if step // 100 % 2 == 0 else -60
        page.mouse.wheel(by if sideways else 0, 0 if sideways else by)

    return turn


def area(grid: Locator) -> tuple[float, float, float, float]:
    """The cells in sight: left, top, width, height."""
    return box_of(grid.locator(".pw-cells"))


def box_of(place: Locator) -> tuple[float, float, float, float]:
    box = place.bounding_box()
    assert box is not None
    return box["x"], box["y"], box["width"], box["height"]


def middle(grid: Locator) -> tuple[float, float]:
    left, top, width, height = area(grid)
    return left + width / 2, top + height / 2


if __name__ == "__main__":
    main()
