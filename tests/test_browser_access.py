"""The page by keyboard alone, on a phone, in the dark, and for those who do not see it."""

from __future__ import annotations

import pytest

from tests import test_browser
from tests.browsing import CONTRASTS, NAMELESS
from tests.test_browser import expect, segment
from tests.toys import paint

toys, chromium, server = test_browser.toys, test_browser.chromium, test_browser.server
visit, photo, made = test_browser.visit, test_browser.photo, test_browser.made

PHONE = {"viewport": {"width": 360, "height": 740}}
FOCUS = """() => {
    const one = document.activeElement;
    const ring = getComputedStyle(one.matches('.unseen') ? one.nextElementSibling : one);
    return [one.id || one.className || one.tagName, ring.outlineStyle, ring.outlineWidth];
}"""


def walk(page, target, most=40):
    """Tab until ``target`` has the focus; every stop on the way must show it."""
    for _ in range(most):
        page.keyboard.press("Tab")
        name, style, width = page.evaluate(FOCUS)
        assert style == "solid", (target, name)
        assert float(width.removesuffix("px")) >= 2, (target, name)
        if page.evaluate("one => document.activeElement.matches(one)", target):
            return
    raise AssertionError(f"{target} was not reached")


def fill_all(page, photo):
    """Each tab with something on it."""
    segment(page, photo)
    page.click("#settings summary")
    page.click("#tab-concepts")
    page.fill("#words", "red")
    page.click("#build")
    expect(page.locator("#save-form")).to_be_visible()
    page.locator("#board button").first.click()
    page.click("#tab-archive")
    page.fill("#query", "yellow")
    page.press("#query", "Enter")
    expect(page.locator("#hits li").first).to_be_visible()


def each_tab(page):
    for name in ("segment", "concepts", "archive"):
        page.click(f"#tab-{name}")
        expect(page.locator(f"#{name}")).to_be_visible()
        yield name


def test_segment_is_walked_by_keyboard_alone(visit, photo):
    page = visit()
    # Choosers are intercepted a while after they are asked for: on a busy machine too late for one
    # that opens at once.
    page.on("filechooser", lambda chooser: None)
    expect(page.locator("#bank option")).to_have_count(3)  # keys do not wait for the banks
    walk(page, "#tab-segment")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#archive")).to_be_visible()
    page.keyboard.press("Home")
    expect(page.locator("#segment")).to_be_visible()
    walk(page, "#seg-files")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(photo)
    walk(page, "#bank")
    page.keyboard.type("two")
    walk(page, "#picker input")
    page.keyboard.type("yel")
    page.keyboard.press("Enter")
    page.keyboard.press("Backspace")
    page.keyboard.press("ArrowDown")  # into the list, on its first concept
    page.keyboard.press("Space")
    expect(page.locator(".option[aria-selected=true]")).to_have_count(2)
    walk(page, "#seg-go")
    page.keyboard.press("Enter")
    expect(page.locator(".canvas canvas")).to_be_visible()
    walk(page, ".canvas .frame")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#reading")).to_contain_text("red")
    for _ in range(5):
        page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator("#reading")).to_contain_text("yellow")
    walk(page, "#opacity")
    page.keyboard.press("Home")
    expect(page.locator("#opacity-said")).to_have_text("0 %")
    walk(page, "#legend button")
    page.keyboard.press("Space")
    expect(page.locator("#legend button").first).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#said")).to_have_text("yellow hidden")
    walk(page, "#downloads a")


def test_a_phone_needs_no_sideways_scrolling(visit, photo, tmp_path):
    page = visit(**PHONE, has_touch=True)
    long = paint(tmp_path / ("a-name-without-any-break-" * 4 + ".png"), "red")
    fill_all(page, [photo, long])
    for name in each_tab(page):
        wide, shown = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide <= shown, name
    page.click("#tab-segment")
    page.locator("#strip .thumb").first.click()
    expect(page.locator(".canvas canvas")).to_be_visible()
    page.locator(".canvas .frame").tap()
    expect(page.locator(".tip")).to_contain_text("red")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_and_every_control_has_a_name(visit, photo, scheme):
    page = visit(color_scheme=scheme, reduced_motion="reduce")
    fill_all(page, photo)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(18, 23, 22)") == (scheme == "dark")
    for name in each_tab(page):
        found = page.evaluate(CONTRASTS)
        assert found["seen"] > 15, name
        assert found["bad"] == [], name
        assert page.evaluate(NAMELESS) == [], name
    moving = "[...document.querySelectorAll('*')].map(e => getComputedStyle(e).animationName)"
    assert set(page.evaluate(moving)) == {"none"}


def test_the_tabs_are_tabs_and_errors_are_alerts(visit):
    page = visit()
    assert page.get_by_role("tab").count() == 3
    for name in each_tab(page):
        assert page.get_by_role("tabpanel").count() == 1
        selected = page.locator("[role=tab][aria-selected=true]")
        assert selected.get_attribute("aria-controls") == name
    assert page.locator("#said").get_attribute("aria-live") == "polite"
    assert page.locator(".problem:not([role=alert])").count() == 0
