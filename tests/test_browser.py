"""The page in a real browser, before the true server on the toy model."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import time
import zipfile

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from recoseg import ConceptBank
from recoseg.concepts.concept import STRICTNESSES
from recoseg.models import registry
from tests import browsing
from tests.browsing import Gated, Serving, Visit, pixel
from tests.test_cli import SMALL, made, on_toys  # noqa: F401 (made is a fixture)
from tests.toys import paint

GONE = ("ERR_CONNECTION", "ERR_EMPTY", "ERR_SOCKET", "Failed to load resource")
TOY = Gated()


@pytest.fixture(scope="module")
def toys():
    with pytest.MonkeyPatch.context() as patch:
        on_toys(patch)
        patch.setattr(registry, "_load", lambda model, device: TOY)
        yield TOY
        TOY.gate.set()


@pytest.fixture(scope="module")
def chromium():
    with browsing.browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def server(toys, made, tmp_path_factory, chromium):  # noqa: F811
    from recoseg.web.settings import ServerSettings

    here = tmp_path_factory.mktemp("served")
    for i in range(40):
        # Of different sizes, because files that are the same are embedded once.
        colour = ("red", "blue", "white", "green")[i % 4]
        paint(here / "root" / "many" / f"{i}.png", colour, size=16 + i)
    paint(here / "root" / "few" / "one.png", "red")
    two = ConceptBank.open(made / "two.bank")
    # No score reaches its thresholds, so that all is unknown.
    high = {"threshold": 0.999, "thresholds": (0.999,) * len(STRICTNESSES)}
    changed = (dataclasses.replace(concept, **high) for concept in two.concepts)
    two.put(*changed).save(here / "unsure.bank")
    settings = ServerSettings(
        banks=(made / "two.bank", here / "unsure.bank"),
        indexes=(made / "photos.index",),
        roots=(here / "root",),
        state=here / "state",
        bound=2,
        max_bytes=100_000,
    )
    serving = Serving(settings)
    serving.start()
    yield serving
    serving.stop()


@pytest.fixture
def visit(chromium, server):
    visits = []

    def open_page(expected=(), **options):
        visits.append(Visit(chromium, server.url, expected, **options))
        return visits[-1].page

    yield open_page
    TOY.gate.set()
    for one in visits:
        one.close()


@pytest.fixture
def photo(tmp_path):
    """Each test's own, because the server asks its models but once about the same bytes."""
    file = paint(tmp_path / "target.png", "yellow", "red")
    notes = PngInfo()
    notes.add_text("of", tmp_path.name)
    Image.open(file).save(file, pnginfo=notes)
    return file


def expect(thing):
    from playwright.sync_api import expect as wait_for

    return wait_for(thing)


def choose(page, *names, bank="two (2)"):
    page.select_option("#bank", label=bank)
    for name in names:
        page.fill("#picker input", name)
        page.press("#picker input", "Enter")
    page.fill("#picker input", "")


def segment(page, photo, *names, **options):
    """Upload and segment a photo; waits for its regions."""
    page.set_input_files("#seg-files", photo)
    choose(page, *(names or ("red", "yellow")), **options)
    page.click("#seg-go")
    expect(page.locator("#legend li").first).to_be_visible()
    expect(page.locator(".canvas canvas")).to_be_visible()


def reads(page, x, y, name):
    """Whether the page reads ``name`` where the pointer is put."""
    box = page.locator(".canvas .frame").bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    for place in ("#reading", ".tip"):
        expect(page.locator(place)).to_have_text(re.compile(rf"^{name}, \d+ % sure$"))


def shows(page, centre, corner):
    """Wait until the map's opacity is as said, in the photo's centre and corner."""
    for _ in range(200):
        found = (pixel(page, 0.5, 0.5)[3], pixel(page, 0.05, 0.05)[3])
        if found == (centre, corner):
            return
        page.wait_for_timeout(20)
    raise AssertionError(found)


def fetched(page, name):
    with page.expect_download() as waiting:
        page.get_by_role("link", name=name, exact=True).click()
    return waiting.value.suggested_filename, waiting.value.path().read_bytes()


# Segment


def test_a_photo_is_segmented_read_and_taken_away(visit, photo):
    page = visit()
    segment(page, photo)
    reads(page, 0.5, 0.5, "red")
    reads(page, 0.05, 0.05, "yellow")
    legend = page.locator("#legend button").all_text_contents()
    swatch = "one => getComputedStyle(one.querySelector('.swatch')).backgroundColor"
    for place, name in enumerate(("red", "yellow")):  # the colours were promised when chosen
        entry = page.locator("#legend button").nth(1 - place)
        promised = page.get_by_role("button", name=f"Remove {name}", exact=True).evaluate(swatch)
        assert entry.evaluate(swatch) == promised
    assert [re.match("[a-z]+", text)[0] for text in legend] == ["yellow", "red"]
    name, mask = fetched(page, "Mask")
    assert name == "target-mask.png"
    labels = Image.open(io.BytesIO(mask))
    assert (labels.mode, labels.size) == ("P", (64, 64))
    page.get_by_label("Format for other tools").select_option("yolo")
    name, packed = fetched(page, "Export")
    assert name == "target-yolo.zip"
    assert zipfile.ZipFile(io.BytesIO(packed)).testzip() is None
    numbers = json.loads(fetched(page, "JSON")[1])
    index = {one["name"]: one["index"] for one in numbers["classes"]}
    assert labels.getpixel((32, 32)) == index["red"]
    assert labels.getpixel((2, 2)) == index["yellow"]
    share = {one["name"]: one["area"] for one in numbers["classes"]}
    assert f"{100 * share['red']:.1f} %" in legend[1]
    # The page's own reading of the map agrees with the file.
    colours = labels.getpalette()
    for x, y in ((0.5, 0.5), (0.05, 0.05)):
        value = labels.getpixel((int(64 * x), int(64 * y)))
        assert pixel(page, x, y) == [*colours[3 * value : 3 * value + 3], 255]


def test_the_overlay_taken_away_has_the_opacity_that_is_shown(visit, photo):
    page = visit()
    segment(page, photo)
    page.locator("#opacity").fill("0")
    assert page.locator(".canvas canvas").evaluate("c => getComputedStyle(c).opacity") == "0"
    plain = Image.open(io.BytesIO(fetched(page, "Overlay")[1])).convert("RGB")
    near = zip(plain.getpixel((32, 32)), (220, 30, 30), strict=True)
    assert all(abs(a - b) < 12 for a, b in near)  # the photo is kept as a JPEG
    page.locator("#opacity").fill("1")
    full = Image.open(io.BytesIO(fetched(page, "Overlay")[1])).convert("RGB")
    assert list(full.getpixel((32, 32))) == pixel(page, 0.5, 0.5)[:3]


def test_the_legend_lights_and_hides_its_region(visit, photo):
    page = visit()
    segment(page, photo)
    entry = page.locator("#legend button", has_text="red")
    entry.hover()
    shows(page, centre=255, corner=31)
    entry.click()
    expect(entry).to_have_attribute("aria-pressed", "false")
    shows(page, centre=0, corner=255)
    page.click("#show-all")
    entry.blur()
    page.mouse.move(0, 0)
    shows(page, centre=255, corner=255)


def test_what_is_not_sure_is_listed_with_its_share_and_what_it_may_be(visit, photo):
    page = visit()
    choose(page, bank="unsure (2)")
    page.click("#settings summary")
    page.locator("#strictness").press("End")
    segment(page, photo, bank="unsure (2)")
    entries = page.locator("#legend li")
    expect(entries).to_have_count(1)
    expect(entries.locator(".name")).to_have_text("unknown")
    expect(entries.locator(".area")).to_have_text("100.0 %")
    guesses = entries.locator(".perhaps")
    expect(guesses).to_contain_text("Not sure enough for a name. Nearest to: ")
    expect(guesses).to_have_text(re.compile(r"(red|yellow) \d+\.\d %, (red|yellow) \d+\.\d %\.$"))
    segment(page, photo, bank="two (2)")
    expect(page.locator("#legend .perhaps")).to_have_count(0)


def test_several_photos_are_jobs_of_their_own_and_can_be_cancelled(visit, photo, tmp_path):
    page = visit(expected=("503",))
    others = [paint(tmp_path / f"{name}.png", name, size=66) for name in ("red", "yellow")]
    TOY.hold()
    page.set_input_files("#seg-files", [photo, *others])
    choose(page, "red", "yellow")
    page.click("#seg-go")
    expect(page.locator("#strip li.busy")).to_have_count(3)
    page.click("#seg-stop")
    TOY.gate.set()
    expect(page.locator("#strip li.busy")).to_have_count(0)
    expect(page.locator("#strip li.new")).to_have_count(3)
    page.click("#seg-go")
    expect(page.locator("#strip li.good")).to_have_count(3)
    page.get_by_role("button", name="red.png: done").click()
    expect(page.locator("#legend button")).to_have_count(1)
    page.click("#settings summary")
    page.locator("#strength").fill("0")
    expect(page.locator("#strength-said")).to_have_text("off")
    # The photo that is shown follows the sliders, the others wait to be asked for.
    expect(page.locator("#strip li.stale")).to_have_count(2)
    expect(page.get_by_role("button", name="red.png: done")).to_be_visible()
    page.get_by_role("button", name="Remove red.png").click()
    expect(page.locator("#strip li")).to_have_count(2)
    expect(page.locator("#seg-go")).to_have_text("Segment 2 photos")


def test_sliders_show_at_once_what_they_do(visit, photo, server):
    page = visit()
    segment(page, photo)
    entry = page.locator("#legend button", has_text="red")
    entry.click()
    shows(page, centre=0, corner=255)
    page.click("#settings summary")
    TOY.hold()  # the models have seen the photo: nothing is asked of them again
    page.locator("#strength").press("ArrowRight")
    expect(page.locator("#strength-said")).to_have_text(re.compile(r"1\.1$"))
    expect(page.locator("#strip li.good")).to_have_count(1)
    kept = json.loads(page.evaluate("localStorage.recoseg"))["segment"]["photos"]
    assert json.loads(kept[0]["asked"])["strength"] == 1.1
    # What was hidden stays hidden while sliders move.
    expect(entry).to_have_attribute("aria-pressed", "false")
    shows(page, centre=0, corner=255)
    page.locator("#strength").press("Home")
    page.locator("#temperature").press("End")
    expect(page.locator("#temperature-said")).to_have_text("1.0")
    expect(page.locator("#strip li.good")).to_have_count(1)
    kept = json.loads(page.evaluate("localStorage.recoseg"))["segment"]["photos"]
    asked = json.loads(kept[0]["asked"])
    assert (asked["refine"], asked["temperature"]) == (False, 1.0)
    page.click("#show-all")
    page.mouse.move(0, 0)
    shows(page, centre=255, corner=255)


# Concepts


def test_a_concept_is_built_corrected_saved_and_tried(visit, photo):
    page = visit(expected=("409",))
    page.click("#tab-concepts")
    page.fill("#words", "green, lime")
    expect(page.locator("#learnt-title")).to_have_text("Nearest to “green”")
    expect(page.locator("#board img")).to_have_count(6)
    page.click("#build")
    expect(page.locator("#learnt-title")).to_have_text("green")
    tiles = page.locator("#board li")
    expect(tiles).to_have_count(3)
    expect(page.locator("#board .ring").first).to_be_visible()
    expect(page.locator("#board .heat").first).to_be_hidden()
    page.check("#heat")
    expect(page.locator("#board .heat").first).to_be_visible()
    first = page.locator("#board button").first
    name = first.get_attribute("aria-label").removeprefix("Drop ")
    first.click()
    expect(tiles.first).to_have_class("gone")
    expect(page.locator("#board-help")).to_contain_text("1 photo dropped")
    first.click()
    expect(tiles.first).not_to_have_class("gone")
    first.click()
    page.click("#build")
    expect(page.get_by_role("button", name=f"Take {name} back")).to_be_visible()
    expect(page.get_by_role("button", name=f"Drop {name}")).to_have_count(0)
    page.fill("#new-bank", "mine")
    page.fill("#save-name", "leaf green")
    page.click("#save-form button[type=submit]")
    expect(page.locator("#saved")).to_contain_text("Saved leaf green in mine")
    page.click("#save-form button[type=submit]")
    expect(page.locator("#save-problem")).to_contain_text("is in this bank already")
    page.click("#replace")
    expect(page.locator("#saved")).to_contain_text("Saved leaf green in mine")
    expect(page.locator("#save-problem")).to_be_hidden()
    page.click("#saved button")
    expect(page.locator("#segment")).to_be_visible()
    expect(page.get_by_role("button", name="Remove leaf green")).to_be_visible()
    page.click("#settings summary")
    expect(page.locator("#strictness")).to_be_disabled()
    expect(page.locator("#strictness-said")).to_have_text("off")
    page.click("#calibrate")
    expect(page.locator("#strictness")).to_be_enabled()
    page.locator("#strictness").fill("0.85")
    expect(page.locator("#strictness-said")).to_have_text("85 %")
    page.set_input_files("#seg-files", photo)
    page.click("#seg-go")
    # Neither yellow nor red is green.
    expect(page.locator("#legend button .name")).to_have_text(["unknown"])
    page.locator("#strictness").fill("0.49")
    expect(page.locator("#legend button .name")).to_have_text(["leaf green"])


def test_examples_stay_with_a_concept_that_is_built_again(visit, tmp_path):
    page = visit()
    page.click("#tab-concepts")
    page.fill("#words", "nameless thing")
    examples = [paint(tmp_path / f"ex{i}.png", "blue", ("yellow", "red")[i]) for i in range(2)]
    page.set_input_files("#ex-files", examples)
    expect(page.locator("#examples li")).to_have_count(2)
    page.get_by_role("button", name="Remove ex1.png").click()
    page.click("#build")
    expect(page.locator("#board .example")).to_have_count(1)
    expect(page.locator("#examples li")).to_have_count(0)
    page.reload()
    expect(page.locator("#board .example")).to_have_count(1)
    page.set_input_files("#ex-files", examples[1:])
    page.click("#build")
    expect(page.locator("#build")).to_have_text("Build again")
    expect(page.locator("#board .example")).to_have_count(2)
    page.locator("#board button:has(.example)").first.click()
    page.click("#build")
    expect(page.locator("#board .example")).to_have_count(1)


# Archive


def test_a_folder_is_indexed_stopped_resumed_and_searched(visit):
    page = visit()
    page.click("#tab-archive")
    page.get_by_role("button", name="many").click()
    expect(page.locator("#folder-photos")).to_contain_text("40 photos")
    expect(page.locator("#index-name")).to_have_value("many")
    TOY.hold(free=4)
    page.click("#index-go")
    row = page.locator("#indexes li", has_text="many")
    expect(row.locator(".said")).to_contain_text("of 40")
    page.reload()  # the work goes on, and the page finds it again
    expect(row.locator(".said")).to_contain_text("of 40")
    row.get_by_role("button", name="Stop").click()
    expect(row.locator(".said")).to_have_text("Stopping …")
    TOY.gate.set()
    expect(row.locator(".state")).to_have_text("stopped")
    row.get_by_role("button", name="Resume many").click()
    expect(row.locator(".state")).to_have_text("ready")
    expect(row).to_contain_text("40 photos")
    page.select_option("#search-index", label="many")
    page.fill("#query", "red")
    page.select_option("#count", "12")
    page.press("#query", "Enter")
    expect(page.locator("#hits li")).to_have_count(12)
    names = page.locator("#hits .name").all_text_contents()
    assert sum(int(name.removesuffix(".png")) % 4 == 0 for name in names) >= 10
    expect(page.locator("#hits img").first).to_have_js_property("naturalWidth", 16)
    page.get_by_role("button", name="Teach this concept").click()
    expect(page.locator("#words")).to_have_value("red")


# What goes wrong


def test_what_is_no_photo_is_said_where_it_was_dropped(visit, tmp_path, photo):
    page = visit()
    note, fake = tmp_path / "note.txt", tmp_path / "fake.png"
    note.write_text("hello")
    fake.write_bytes(b"no image")
    page.set_input_files("#seg-files", note)
    problem = page.locator("#seg-photo-problem")
    expect(problem).to_contain_text("note.txt is not a photo")
    problem.get_by_role("button", name="Dismiss").click()
    expect(problem).to_be_hidden()
    page.set_input_files("#seg-files", fake)
    choose(page, "red")
    page.click("#seg-go")
    expect(page.locator("#view-problem")).to_contain_text("fake.png")
    # A sentence stands in the place of the photo, not the browser's mark of a broken one.
    expect(page.locator("#canvas .unreadable")).to_contain_text("cannot show fake.png")
    expect(page.locator("#canvas img")).to_be_hidden()
    expect(page.locator("#strip img")).to_be_hidden()
    page.set_input_files("#seg-files", photo)
    expect(page.locator("#canvas img")).to_be_visible()
    expect(page.locator("#canvas .unreadable")).to_be_hidden()
    expect(page.locator("#strip li.bad")).to_have_count(1)


def test_the_temperature_is_the_bank_s_until_it_is_moved(visit, photo):
    page = visit()
    segment(page, photo)
    kept = json.loads(page.evaluate("localStorage.recoseg"))["segment"]["photos"]
    assert json.loads(kept[0]["asked"])["temperature"] is None
    page.click("#settings summary")
    expect(page.locator("#temperature-said")).to_have_text("usual")


def test_a_photo_that_is_too_large_is_not_sent(visit, tmp_path):
    page = visit()
    noise = np.random.default_rng(0).integers(0, 256, (250, 250, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    page.set_input_files("#seg-files", tmp_path / "large.png")
    choose(page, "red")
    page.click("#seg-go")
    expect(page.locator("#view-problem")).to_contain_text("more than the 0.10 MB that the server")
    expect(page.locator("#strip li.bad")).to_have_count(1)
    expect(page.locator("#link")).to_be_hidden()


def test_a_bank_of_another_model_is_refused_in_a_sentence(visit, photo):
    page = visit(expected=("status of 4",))
    page.set_input_files("#seg-files", photo)
    page.select_option("#bank", label="everyday (169)")
    page.click("#seg-go")
    expect(page.locator("#view-problem > span")).to_have_text(re.compile(r"^[A-Z].+\.$"))


def test_a_busy_server_is_waited_for(visit, photo, server):
    page = visit(expected=("503",))
    page.set_input_files("#seg-files", photo)
    choose(page, "red", "yellow")
    TOY.hold()
    boundary, line = "b", "--b\r\nContent-Disposition: form-data; name="
    bank = next(one["id"] for one in server.ask("/banks") if one["name"] == "two")
    body = f'{line}"bank"\r\n\r\n{bank}\r\n{line}"image"; filename="x.png"\r\n\r\n'.encode()
    body += photo.read_bytes() + b"\r\n--b--\r\n"
    for _ in range(3):  # one runs, two wait: that is the bound
        kind = f"multipart/form-data; boundary={boundary}"
        server.ask("/segment", "POST", body, kind)
        while not server.ask("/health")["running"]:
            time.sleep(0.02)
    page.click("#seg-go")
    expect(page.locator("#link")).to_contain_text("The server is busy")
    TOY.gate.set()
    expect(page.locator("#legend li").first).to_be_visible()
    expect(page.locator("#link")).to_be_hidden()


def test_a_server_that_went_is_waited_for(visit, photo, server):
    page = visit(expected=GONE)
    page.set_input_files("#seg-files", photo)
    choose(page, "red", "yellow")
    server.stop()
    page.click("#seg-go")
    expect(page.locator("#link")).to_contain_text("The server does not answer")
    server.start()
    page.click("#link button")
    expect(page.locator("#legend li").first).to_be_visible()
    expect(page.locator("#link")).to_be_hidden()
    # What the old server knew is gone, and that is said.
    server.stop()
    server.start()
    page.reload()
    expect(page.locator("#view-problem")).to_contain_text("This result is not kept any more")


def test_a_reload_keeps_work_and_choices(visit, photo):
    page = visit()
    segment(page, photo)
    page.locator("#opacity").fill("0.9")
    page.click("#settings summary")
    page.locator("#temperature").fill("-0.5")
    expect(page.locator("#strip li.good")).to_have_count(1)
    page.get_by_role("button", name="Remove yellow").click()
    TOY.hold()
    with page.expect_response("**/api/jobs/*"):
        page.click("#seg-go")
    page.reload()
    expect(page.locator("#strip li.busy")).to_have_count(1)
    TOY.gate.set()
    expect(page.locator("#strip li.good")).to_have_count(1)
    expect(page.locator("#legend button")).to_have_count(1)
    expect(page.locator("#opacity-said")).to_have_text("90 %")
    expect(page.locator("#temperature-said")).to_have_text("0.32")
    expect(page.locator("#picker .chips li")).to_have_count(1)
    page.click("#tab-archive")
    page.reload()
    expect(page.locator("#archive")).to_be_visible()


def test_enter_chooses_the_concept_of_just_that_name(visit):
    page = visit()
    page.select_option("#bank", label="everyday (169)")
    page.fill("#picker input", "WATER")
    assert page.locator(".option:visible").first.text_content() == "waterfall"
    page.press("#picker input", "Enter")
    expect(page.get_by_role("button", name="Remove water", exact=True)).to_be_visible()
    page.fill("#picker input", "no such thing")
    page.press("#picker input", "Enter")
    expect(page.locator("#picker .chips li")).to_have_count(1)
    expect(page.locator("#picker")).to_contain_text("No concept of this bank has such a name.")


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_photos_may_be_dropped_and_pasted(visit, photo, way):
    page = visit()
    carried = page.evaluate_handle(
        """(bytes) => {
            const carried = new DataTransfer();
            const picture = new Uint8Array(bytes);
            carried.items.add(new File([picture], "carried.png", { type: "image/png" }));
            return carried;
        }""",
        list(photo.read_bytes()),
    )
    if way == "drop":
        page.dispatch_event("#seg-drop", "dragover", {"dataTransfer": carried})
        expect(page.locator("#seg-drop")).to_have_class("drop over")
        page.dispatch_event("#seg-drop", "drop", {"dataTransfer": carried})
        expect(page.locator("#seg-drop")).to_have_class("drop")
    else:
        carried.evaluate(
            """clipboardData => document.body.dispatchEvent(
                new ClipboardEvent("paste", { clipboardData, bubbles: true }))"""
        )
    expect(page.get_by_role("button", name="carried.png: new")).to_be_visible()
    expect(page.locator(".canvas img")).to_have_js_property("naturalWidth", 64)
