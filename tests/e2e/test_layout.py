"""What is seen of the panels, and nothing cut off: side by side, of long prompts, in little room. On a small model."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e import cells
from tests.e2e.panel import Panel

TOGETHER = """
import ipywidgets as W
vector = pw.SteeringVector.from_pairs(model, ["When John"], ["When Mary"], layer=1)
W.HBox([pw.PatchLab(model, pair), pw.PatchLab(model, pair, site="z"), pw.SteerLab(model, "When John went", vector, max_new_tokens=4)])
"""

# 85 tokens, of which the one at 80 differs; and newlines
LONG = """
story = "When Mary went\\nto the store and " * 10
pairs = [pw.PromptPair(story + f"{a} gave a drink to", story + f"{b} gave a drink to", answer=" Mary", distractor=" John")
         for a, b in (("John", "Tom"), ("Ann", "Mary"))]
lab = pw.PatchLab(model, pairs)
lab
"""

BOXES = """
narrow = pw.PatchLab(model, pair)
W.HBox([W.VBox([narrow], layout=W.Layout(width=width)) for width in ("420px", "328px", "240px")])
"""

# of the parts of a panel that are on view, those that stand out of it at the right, or end under something else
CUT_OFF = """root => {
    const edge = root.getBoundingClientRect().right + 0.5;
    const whole = element => {
        const box = element.getBoundingClientRect();
        const top = document.elementFromPoint(box.right - 2, (box.top + box.bottom) / 2);
        return element.contains(top) || top?.contains(element);
    };
    const shortened = element => {
        const { textOverflow, overflowX } = getComputedStyle(element);
        return (textOverflow === 'ellipsis' && overflowX !== 'visible') || (element !== root && shortened(element.parentElement));
    };
    const seen = [...root.querySelectorAll('*')].filter(e => e.checkVisibility() && !e.closest('.pw-unseen, .pw-space'));
    return seen.flatMap(element => {
        const out = element.getBoundingClientRect().right > edge;
        const named = element.matches('.pw-baseline, .pw-run button, [data-pw=edit]');
        if (named) element.scrollIntoView({ block: 'center' });
        const isCut = (out && !shortened(element.parentElement)) || (named && !whole(element));
        return isCut ? [`${element.tagName} ${element.className} ${element.textContent.slice(0, 20)}`] : [];
    });
}"""

# of each grid on view: whether it lies beside its scrollbar, and whether it has one along the bottom
BARS = """root => [...root.querySelectorAll('.pw-scroller')].filter(e => e.checkVisibility()).map(scroller => {
    const canvas = scroller.querySelector('canvas').getBoundingClientRect();
    const bar = scroller.offsetWidth - scroller.clientWidth;
    const whole = canvas.right <= scroller.getBoundingClientRect().left + scroller.clientWidth + 0.5;
    return { bar: bar > 0, whole, sideways: scroller.offsetHeight > scroller.clientHeight };
})"""


@pytest.fixture(scope="module")
def notebook(open_notebook):
    notebook = open_notebook("layout.ipynb", cells.SMALL, TOGETHER, LONG, BOXES)
    for cell in range(4):
        notebook.run(cell)
    for nth in range(6):
        Panel(notebook.page, nth).wait_until_done()
    return notebook


@pytest.fixture
def sized(notebook):
    """The page at a size."""

    def sized(width: int, height: int) -> Page:
        notebook.page.set_viewport_size({"width": width, "height": height})
        notebook.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return notebook.page

    yield sized
    sized(1400, 1200)


@pytest.fixture
def long(notebook):
    return Panel(notebook.page, 2)


def test_labs_side_by_side_share_the_row_and_wrap(sized):
    page = sized(1800, 1200)
    # the third is a SteerLab
    boxes = "() => [...document.querySelectorAll('.pw-root')].slice(0, 3).map(e => [e.offsetLeft, e.getBoundingClientRect().top, e.offsetWidth])"
    first, second, third = (row[1:] for row in page.evaluate(boxes))
    assert first == second == third
    assert 420 <= first[1] < 600
    page = sized(900, 1200)
    tops = {top for _, top, _ in page.evaluate(boxes)}
    assert len(tops) == 3
    assert {width > 600 for _, _, width in page.evaluate(boxes)} == {True}


def test_a_long_prompt_shows_where_it_differs(notebook, sized, long):
    sized(1000, 1200)
    differing = long.part("prompts").locator(".pw-differs .pw-token")
    expect(differing).to_have_text(["·John", "·Tom"])
    box = long.root.locator(".pw-tokens")
    for token in differing.all():
        assert _within(token, box)

    # in the grid; and when it has had room for all, and has no longer
    for width in (1000, 1800, 1000):
        sized(width, 1200)
        x = float(long.grid.get_attribute("data-x0") or 0) + 80.5 * float(long.grid.get_attribute("data-cell-w") or 0)
        canvas = long.grid.locator("canvas").bounding_box()
        assert canvas is not None
        assert 0 < x < canvas["width"]
    expect(long.cell(long.grid)).not_to_have_attribute("aria-colindex", "1")  # the keys begin in sight, too
    notebook.screenshot("long", long.root)

    # the menu and the steps have a line for each pair, whatever is in its prompts
    long.choose("pairs", "1")
    long.wait_until_done()
    heights = "elements => elements.map(e => [e.offsetHeight, e.scrollHeight])"
    for shown, whole in long.root.locator(".pw-select b, .pw-tree-text").evaluate_all(heights):
        assert whole <= shown + 1 < 30
    for token in differing.all():
        assert _within(token, box)


def test_prompts_of_thousands_of_characters_scroll_in_their_fields(long):
    long.part("edit").click()
    text = "When Mary" + " went to the store and" * 90
    long.part("edit-clean").fill(f"{text} John")
    long.part("edit-corrupted").fill(f"{text} Tom")
    expect(long.part("cost")).to_have_text(re.compile(r"^1,35\d cells"))
    expect(long.root.locator(".pw-editor .pw-differing")).to_have_text([" John", " Tom"])
    for name in ("clean", "corrupted"):
        field = long.root.locator(".pw-stack").filter(has=long.part(f"edit-{name}", long.page))
        height, whole, typed, marked = field.evaluate(
            "e => [e.offsetHeight, e.scrollHeight, e.querySelector('textarea').scrollHeight, e.querySelector('.pw-back').offsetHeight]"
        )
        assert height < 170 < whole == typed == marked
    long.part("edit-close").click()


def test_nothing_is_cut_off(notebook, sized):
    sized(1400, 1200)
    narrow = Panel(notebook.page, 3)
    narrow.open_heads(layer=1, pos=7)
    narrow.take("neurons")
    narrow.wait_for_detail()
    for nth, width in ((3, 420), (4, 328), (5, 240)):
        panel = Panel(notebook.page, nth)
        assert panel.root.evaluate("root => root.offsetWidth") == width
        expect(panel.heads).to_have_attribute("aria-label", re.compile("^Neurons"))
        # whatever a file that somebody has changed holds for an answer
        panel.root.locator(".pw-role-token bdi").first.evaluate("answer => { answer.textContent = 'long'.repeat(200); }")
        assert panel.root.evaluate(CUT_OFF) == []
        main, neurons = panel.root.evaluate(BARS)
        assert main == {"bar": False, "whole": True, "sideways": False}
        assert neurons == {"bar": True, "whole": True, "sideways": False}
        notebook.screenshot(f"narrow-{width}", panel.root)
    steer = notebook.page.locator('[data-pw="steer"]')
    for width in (1800, 720):
        sized(width, 1200)
        assert steer.evaluate(CUT_OFF) == []
        numbers = steer.locator(".pw-next-bars .pw-p")
        numbers.evaluate_all("all => all.forEach(number => { number.textContent = '<0.1%'; })")
        assert set(numbers.evaluate_all("all => all.map(number => number.scrollWidth - number.clientWidth)")) == {0}


def test_the_current_step_is_in_sight(long):
    long.choose("pairs", "0")
    long.wait_until_done()
    for col in range(78, 85):
        long.open_heads(layer=1, pos=col)
    steps = long.part("history")
    assert steps.evaluate("tree => tree.scrollHeight > tree.clientHeight")
    assert _within(steps.locator('[aria-selected="true"]'), steps)


def test_in_one_column_a_click_shows_its_answer(notebook, sized, long):
    page = sized(900, 800)
    panel = long
    expect(panel.part("explain")).not_to_have_attribute("open", "")
    panel.part("history").get_by_role("treeitem").first.click()
    expect(panel.heads).to_be_hidden()
    panel.click(panel.grid, row=2, col=84)
    panel.wait_for_detail()
    title = panel.part("crumb")
    expect(title).to_be_in_viewport(ratio=1)
    box = title.bounding_box()
    assert box is not None
    assert box["y"] < 500  # and some of what is under it
    legend, detail, explain = (panel.part(name).bounding_box() for name in ("legend", "detail", "explain"))
    assert legend["y"] < detail["y"] < legend["y"] + legend["height"] + 20
    assert explain["y"] > detail["y"] + detail["height"]
    notebook.screenshot("one-column", page)
    assert notebook.page_errors == []


def _within(part: Locator, box: Locator) -> bool:
    """Whether a part is wholly in sight in a box that scrolls."""
    inner, outer = part.bounding_box(), box.bounding_box()
    assert inner is not None
    assert outer is not None
    return outer["y"] <= inner["y"] + 0.5 and inner["y"] + inner["height"] <= outer["y"] + outer["height"] + 0.5
