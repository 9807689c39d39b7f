"""The steering panel in JupyterLab, on the default model: dragging asks nothing of the kernel, releasing writes, the newest wins."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e import cells
from tests.e2e.panel import Panel

SET_UP = """
import time
import patchwidget as pw
model = pw.load()
vector = pw.SteeringVector.from_pairs(
    model,
    ["I love this film, it is wonderful", "What a great day, I am so happy"],
    ["I hate this film, it is terrible", "What an awful day, I am so sad"],
    layer=15,
)
"""
LAB = """
steering = pw.SteerLab(model, "I went to see the film last night and I thought it was", vector, max_new_tokens=60)
steering
"""

PATCHLAB = """
lab = pw.PatchLab(model, pw.PromptPair(
    "When John and Mary went to the store, John gave a drink to",
    "When John and Mary went to the store, Mary gave a drink to",
    answer=" Mary", distractor=" John",
))
lab
"""

# in the page: counts what goes to the kernel's sockets, by type of message, but for pings of the widget's hello
COUNT_MESSAGES = """() => {
    window.testSent = [];
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (data) {
        const text = typeof data === 'string' ? data : new TextDecoder().decode(data);
        const widget = /"type":\\s*"(request|cancel|hello)"/.exec(text);
        window.testSent.push(widget ? widget[1] : 'other');
        return send.call(this, data);
    };
}"""

# in the page: frames that the browser shows, and those of them in which the bars were drawn anew
COUNT_FRAMES = """() => {
    const bars = document.querySelector('[data-pw="next-tokens"]');
    window.testFrames = { times: [], first: Number(bars.dataset.frames) };
    const count = time => {
        if (!window.testFrames) return;
        window.testFrames.times.push(time);
        requestAnimationFrame(count);
    };
    requestAnimationFrame(count);
}"""
COUNTED = """() => {
    const { times, first } = window.testFrames;
    window.testFrames = null;
    const drawn = Number(document.querySelector('[data-pw="next-tokens"]').dataset.frames) - first;
    return { drawn, frames: times.length, seconds: (times.at(-1) - times[0]) / 1000 };
}"""
STEPS = 100


class SteerPanel:
    """One `SteerLab` in a page, found by its `data-pw` attributes."""

    def __init__(self, page: Page, nth: int = 0) -> None:
        self.page = page
        self.root = page.locator('[data-pw="steer"]').nth(nth)
        expect(self.root).to_be_visible(timeout=60_000)

    def part(self, name: str) -> Locator:
        return self.root.locator(f'[data-pw="{name}"]')

    def wait_until_written(self) -> None:
        for side in ("base", "steered"):
            expect(self.part(f"text-{side}")).to_have_attribute("data-status", "done", timeout=240_000)

    def wait_until_writing(self, *, after: int = 0) -> int:
        """Wait until the steered text grows; its length."""
        text = self.part("text-steered")
        expect(text).to_have_attribute("data-status", "writing")
        self.page.wait_for_function(
            "n => document.querySelector('[data-pw=\"text-steered\"]').textContent.length > n", arg=after, timeout=60_000
        )
        return len(text.inner_text())

    def grab(self) -> tuple[float, float, float]:
        """Press the mouse on the strength's thumb: (its x, its y, the slider's width)."""
        slider = self.part("strength").first
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        assert box is not None
        place = (float(slider.input_value()) / 100 + 1) / 2
        x, y = box["x"] + 7 + place * (box["width"] - 14), box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        return x, y, box["width"] - 14

    def strength(self) -> float:
        return float(self.part("strength").first.get_attribute("data-strength") or "nan")


@pytest.fixture(scope="module")
def steering(open_notebook):
    notebook = open_notebook("steering-panel.ipynb", SET_UP, LAB, cells.BUSY, PATCHLAB)
    notebook.run(0)
    notebook.page.evaluate(COUNT_MESSAGES)
    notebook.run(1)
    panel = SteerPanel(notebook.page)
    shown = notebook.page.evaluate("performance.now()")
    panel.wait_until_written()
    notebook.page.wait_for_function("since => performance.now() > since + 6500", arg=shown)  # until the page has said its last hello
    return notebook


def drag_through(panel: SteerPanel) -> dict:
    """100 steps of the slider, each a frame later than the one before, with the mouse held down; what was counted meanwhile."""
    page = panel.page
    x, y, width = panel.grab()
    step = width / 200  # the slider has 200 steps: it is moved by one at a time, there and back
    page.evaluate("() => { window.testSent = []; }")
    page.evaluate(COUNT_FRAMES)
    for i in range(1, STEPS + 1):
        page.mouse.move(x + step * (i if i <= STEPS // 2 else STEPS - i), y)
        page.evaluate("() => new Promise(requestAnimationFrame)")
    counted = page.evaluate(COUNTED)
    return counted | {"sent": page.evaluate("window.testSent")}


def check_drag(counted: dict) -> None:
    assert counted["sent"] == []
    assert counted["drawn"] >= STEPS - 2
    print(counted)  # noqa: T201  shown with -s


def test_dragging_repaints_at_each_frame_and_asks_nothing(steering):
    panel = SteerPanel(steering.page)
    before = panel.part("next-tokens").inner_text()
    counted = drag_through(panel)
    check_drag(counted)
    # the work of a frame, by itself: it must fit into a sixtieth of a second
    busy = steering.page.evaluate(
        """async () => {
            const slider = document.querySelector('[data-pw="strength"]');
            const began = [], spent = [];
            for (let i = 0; i < 100; i++) {
                slider.value = String(i - 50);
                slider.dispatchEvent(new Event('input', { bubbles: true }));
                await new Promise(next => requestAnimationFrame(start => {
                    began.push(start);
                    spent.push(performance.now() - start);
                    next();
                }));
            }
            return { spent: spent.sort((a, b) => a - b), frames: 100 / ((began.at(-1) - began[0]) / 1000) };
        }"""
    )
    print("median ms", busy["spent"][50], "frames a second", busy["frames"])  # noqa: T201
    assert busy["spent"][50] < 1000 / 60
    steering.page.mouse.up()
    assert panel.part("next-tokens").inner_text() != before or panel.strength() != 0
    panel.wait_until_written()


def test_releasing_writes_and_grabbing_again_stops_it(steering):
    panel = SteerPanel(steering.page)
    old = panel.strength()
    x, y, width = panel.grab()
    steering.page.mouse.move(x - width / 5, y, steps=5)
    steering.page.evaluate("() => { window.testSent = []; }")
    steering.page.mouse.up()
    length = panel.wait_until_writing()
    assert panel.strength() < old
    assert steering.page.evaluate("window.testSent").count("request") == 1

    panel.grab()
    steering.page.mouse.move(x - width / 4, y, steps=5)
    steering.page.wait_for_timeout(1500)
    assert steering.page.evaluate("window.testSent").count("cancel") == 1
    stopped = len(panel.part("text-steered").inner_text())
    steering.page.wait_for_timeout(1500)
    assert len(panel.part("text-steered").inner_text()) == stopped
    assert stopped >= length
    steering.page.mouse.up()
    panel.wait_until_writing()
    # a newer one in mid-stream, by keys: the old one is left where it is
    panel.part("strength").first.focus()
    steering.page.keyboard.press("ArrowLeft")
    panel.wait_until_written()
    expect(panel.part("damage")).to_contain_text(re.compile(r"KL over the text\s*\d"))
    expect(panel.part("error")).to_have_count(4)
    assert all(not error.is_visible() for error in panel.part("error").all())


def test_text_while_dragging_marks_and_code(steering):
    panel = SteerPanel(steering.page)
    panel.part("follow").check()
    x, y, width = panel.grab()
    steering.page.evaluate("() => { window.testSent = []; }")
    steering.page.mouse.move(x + width / 10, y, steps=3)
    panel.wait_until_writing()  # the mouse is still down
    assert "request" in steering.page.evaluate("window.testSent")
    steering.page.mouse.up()
    panel.part("follow").uncheck()
    panel.wait_until_written()
    expect(panel.part("text-steered").locator("mark").first).to_be_visible()
    expect(panel.part("text-base").locator("mark")).to_have_count(0)
    panel.part("code").click()
    expect(panel.part("status")).to_have_text("Code copied")


def test_a_vector_from_two_boxes(steering):
    panel = SteerPanel(steering.page)
    panel.part("making").click()
    panel.part("positive").fill("I am talking about weddings\nThe wedding is today")
    panel.part("negative").fill("I am talking about taxes\nThe deadline is today")
    panel.part("make-apply").click()
    expect(panel.part("row")).to_have_count(2, timeout=60_000)
    expect(panel.part("vector").nth(1)).to_have_value(re.compile("v"))
    panel.wait_until_written()
    panel.part("remove").nth(1).click()
    expect(panel.part("row")).to_have_count(1)
    panel.part("making").click()
    panel.wait_until_written()


def test_the_same_while_another_cell_runs(steering):
    panel = SteerPanel(steering.page)
    steering.start_busy(2)
    check_drag(drag_through(panel))
    steering.page.mouse.up()
    x, y, width = panel.grab()
    steering.page.mouse.move(x + width / 6, y, steps=5)
    steering.page.mouse.up()
    panel.wait_until_writing()
    panel.grab()
    steering.page.mouse.move(x + width / 8, y, steps=3)
    steering.page.mouse.up()
    panel.wait_until_writing()
    steering.finish_busy(2)
    panel.wait_until_written()


def test_it_looks_as_it_should(steering):
    panel = SteerPanel(steering.page)
    for theme in ("Light", "Dark"):
        steering.use_theme(theme)
        for name, width, height in (("wide", 1600, 1200), ("narrow", 620, 2000)):
            steering.page.set_viewport_size({"width": width, "height": height})
            steering.page.mouse.move(0, 0)
            steering.page.wait_for_timeout(300)
            steering.screenshot(f"steer-{theme.lower()}-{name}", panel.root)
            assert panel.root.evaluate("root => root.scrollWidth <= root.clientWidth")
    steering.use_theme("Light")
    assert steering.page_errors == []
    assert steering.foreign == []


def test_steering_from_a_cell_of_a_lab(steering):
    steering.run(3)
    lab = Panel(steering.page)
    lab.wait_until_done()
    lab.click(lab.grid, row=20, col=13)
    lab.root.locator('[data-step="steer"]').click()
    panel = SteerPanel(steering.page, nth=1)
    expect(panel.part("row")).to_have_count(1, timeout=60_000)
    expect(panel.part("vector")).to_contain_text("layer 20, position 13 (resid_pre)")
    panel.wait_until_written()
    lab.click(lab.grid, row=10, col=9)
    lab.root.locator('[data-step="steer"]').first.click()
    expect(panel.part("row")).to_have_count(2, timeout=60_000)
    steering.page.set_viewport_size({"width": 1400, "height": 1800})
    steering.screenshot("steer-from-cell")
    assert steering.page_errors == []
