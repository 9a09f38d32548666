"""Videos made with PyAV, or painted, segmented by colour."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image

from recoseg import exporting
from recoseg.concepts.bank import ConceptBank
from recoseg.errors import InputError, Locked, VideoError
from recoseg.io import images
from recoseg.models.registry import Models
from recoseg.recipe import LITE
from recoseg.segmenting.result import Segmentation
from recoseg.segmenting.segmenter import Segmenter
from recoseg.video import clip_record as module
from recoseg.video import frames, overlay, segment_video
from recoseg.video.frames import natural, open_frames
from recoseg.video.overlay import write_video
from recoseg.video.smoothing import Memory
from tests.pupils import student
from tests.toys import COLOURS, Toy, paint

SIZE = (48, 64)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    """Of red and blue, whose borders are not sharpened."""
    folder, toy = tmp_path_factory.mktemp("bank"), Toy()
    examples = {
        name: [paint(folder / name / f"{i}.png", "white", name, 64) for i in range(2)]
        for name in ("red", "blue")
    }
    recipe = LITE.replace(archive_size=64, image_size=64, k=2, ce=False)
    models = Models(toy, toy, toy)
    bank = ConceptBank.build(
        ["red", "blue"], None, recipe, examples=examples, models=models, progress=False
    )
    return Segmenter(bank, refine=False, models=models)


def plain(colour, size=SIZE):
    return np.full((*size, 3), COLOURS[colour], np.uint8)


def halves(left, right, size=SIZE):
    picture = plain(left, size)
    picture[:, size[1] // 2 :] = COLOURS[right]
    return picture


def film(path, pictures, fps=10, codec="mpeg4", rotation=None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def seen(path):
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
        return rate, [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def go(source, segmenter, out, **options):
    return segment_video(source, segmenter, out, progress=False, **options)


def labels(out):
    return {p.stem: np.asarray(Image.open(p)) for p in sorted((out / "labels").glob("*.png"))}


def folder_of(path, pictures):
    path.mkdir()
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(path / f"f{i}.png")
    return path


def test_a_video_becomes_label_maps_and_an_overlay_of_its_size_and_rate(tmp_path, segmenter):
    pictures = [halves("red", "blue")] * 3 + [halves("blue", "red")] * 2
    source = film(tmp_path / "in.mp4", pictures, Fraction(30000, 1001))
    made = go(source, segmenter, tmp_path / "out")
    assert (made.frames, made.kept, made.size, made.skipped) == (5, 0, SIZE, ())
    found = labels(tmp_path / "out")
    assert list(found) == [f"frame_{i:06d}" for i in range(5)]
    for i, values in enumerate(found.values()):
        left, right = (0, 1) if i < 3 else (1, 0)
        assert (values[:, :24] == left).mean() > 0.99
        assert (values[:, 40:] == right).mean() > 0.99
    rate, drawn = seen(tmp_path / "out/overlay.mp4")
    assert rate == Fraction(30000, 1001)
    assert [picture.shape[:2] for picture in drawn] == [SIZE] * 5
    colours = segmenter(plain("red")).colours.astype(int)
    expected = (np.array(COLOURS["red"]) + colours[0]) / 2
    assert np.abs(drawn[1][8:40, 8:24].reshape(-1, 3).mean(0) - expected).max() < 45


def test_the_folder_can_be_exported(tmp_path, segmenter):
    go(film(tmp_path / "in.mp4", [plain("red")] * 2), segmenter, tmp_path / "out")
    made = exporting.write(tmp_path / "out", "coco-rle", tmp_path / "coco", progress=False)
    assert (made.images, made.annotations) == (2, 2)


@pytest.mark.parametrize("size", [(48, 64), (47, 63), (48, 63), (33, 64)])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_overlays_keep_any_size_with_either_encoder(tmp_path, monkeypatch, size, codec):
    if codec not in av.codecs_available:
        pytest.skip("this build of PyAV has no libx264; install PyAV from its wheel to test it")
    monkeypatch.setattr(overlay, "encoder", lambda: codec)
    pictures = [(plain("red", size), Fraction(i, 24)) for i in range(3)]
    assert write_video(tmp_path / "o.mp4", pictures, Fraction(24)) == 3
    rate, drawn = seen(tmp_path / "o.mp4")
    assert (rate, len(drawn)) == (24, 3)
    assert drawn[0].shape[:2] == size
    assert np.abs(drawn[2].astype(int) - plain("red", size)).max() < 40
    assert [path.name for path in tmp_path.iterdir()] == ["o.mp4"]


def test_rotation_in_the_metadata_is_honoured(tmp_path):
    upright = plain("blue")
    upright[:16, :16] = COLOURS["red"]
    stored = np.ascontiguousarray(np.rot90(upright, -1))
    source = film(tmp_path / "in.mp4", [stored] * 2, rotation=90)
    with av.open(str(source)) as container:
        turn = next(container.decode(video=0)).rotation
    frame = next(open_frames(source).read(0, 1))
    assert abs(turn) == 90
    back = np.rot90(stored, turn // 90)
    assert frame.image.shape == upright.shape
    assert np.abs(frame.image.astype(int) - back).max() < 60


def uneven(path, ticks, clock=Fraction(1, 1000), codec="mpeg4"):
    """A film whose frames are shown at ``ticks`` of ``clock``."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = clock
        for tick in ticks:
            frame = av.VideoFrame.from_ndarray(plain("red"), format="rgb24")
            frame.pts, frame.time_base = tick, clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def times(path):
    """Seconds at which frames are shown, from the first on."""
    with av.open(str(path)) as container:
        shown = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    return [time - shown[0] for time in shown]


TICKS = [0, 33, 67, 500, 540, 541, 2000]


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize(("name", "start"), [("in.mkv", 0), ("in.mp4", 0), ("in.mkv", 700)])
@pytest.mark.parametrize("every", [1, 2])
def test_frames_of_a_variable_rate_are_shown_when_they_were(
    tmp_path, segmenter, monkeypatch, codec, name, start, every
):
    if codec not in av.codecs_available:
        pytest.skip("this build of PyAV has no libx264; install PyAV from its wheel to test it")
    monkeypatch.setattr(overlay, "encoder", lambda: codec)
    source = uneven(tmp_path / name, [start + tick for tick in TICKS])
    expected = times(source)
    assert [round(1000 * time) for time in expected] == TICKS
    go(source, segmenter, tmp_path / "out", every=every)
    found = times(tmp_path / "out/overlay.mp4")
    assert len(found) == len(expected[::every])
    for time, wanted in zip(found, expected[::every], strict=True):
        assert abs(time - wanted) <= Fraction(1, 32768)


def test_frames_without_or_with_wrong_times_follow_at_the_usual_distance():
    class Picture:
        time_base, dts = Fraction(1, 10), None

        def __init__(self, pts):
            self.pts = pts

    clock = frames._FrameTimes(Fraction(1, 25))
    read = [clock.read(Picture(pts)) for pts in (50, None, 60, 55, None, 100)]
    step = Fraction(1, 25)
    assert read == [0, step, 1, 1 + step, 1 + 2 * step, 5]


def test_a_frame_that_cannot_be_read_leaves_its_time_to_the_one_before(tmp_path, segmenter):
    source = folder_of(tmp_path / "frames", [plain("red")] * 4)
    (source / "f2.png").write_bytes(b"broken")
    go(source, segmenter, tmp_path / "out", fps=5)
    assert times(tmp_path / "out/overlay.mp4") == [0, Fraction(1, 5), Fraction(3, 5)]


def test_every_so_many_frames_at_as_many_fewer_per_second(tmp_path, segmenter):
    source = film(tmp_path / "in.mp4", [plain("red")] * 7, 12)
    made = go(source, segmenter, tmp_path / "out", every=3)
    assert list(labels(tmp_path / "out")) == ["frame_000000", "frame_000003", "frame_000006"]
    rate, drawn = seen(tmp_path / "out/overlay.mp4")
    assert (made.frames, made.fps, rate, len(drawn)) == (3, 4, 4, 3)


def test_frames_of_a_folder_are_taken_in_natural_order(tmp_path, segmenter):
    source = folder_of(tmp_path / "frames", [plain("red")] * 12)
    Image.fromarray(plain("blue")).save(source / "f10.png")
    made = go(source, segmenter, tmp_path / "frames/out", fps=5)
    record = json.loads((tmp_path / "frames/out/manifest.json").read_text())
    assert list(record["images"]) == [f"f{i}.png" for i in range(12)]
    rate, drawn = seen(tmp_path / "frames/out/overlay.mp4")
    assert (made.fps, rate) == (5, 5)
    apart = [np.abs(picture.astype(int) - drawn[0]).mean() for picture in drawn]
    assert int(np.argmax(apart)) == 10
    assert go(source, segmenter, tmp_path / "frames/out", fps=5).kept == 12


def test_natural_order():
    names = ["a10", "a9", "a1b2", "a1b10", "B2", "a02"]
    assert sorted(names, key=natural) == ["a1b2", "a1b10", "a02", "a9", "a10", "B2"]
    sorted(["1a", "a1", "²", "a²", "", "٣"], key=natural)


def test_frames_that_cannot_be_read_are_skipped_and_told(tmp_path, segmenter):
    source = folder_of(tmp_path / "frames", [plain("red")] * 4)
    (source / "f2.png").write_bytes(b"no image")
    made = go(source, segmenter, tmp_path / "out")
    assert made.frames == 3
    assert len(made.skipped) == 1
    assert "f2.png" in made.skipped[0]
    assert len(seen(tmp_path / "out/overlay.mp4")[1]) == 3


def test_frames_of_two_sizes_are_refused(tmp_path, segmenter):
    source = folder_of(tmp_path / "frames", [plain("red"), plain("red", (32, 32))])
    with pytest.raises(VideoError, match="32x32 and the first frame 64x48"):
        go(source, segmenter, tmp_path / "out")


def flickering(count=12, seed=0):
    """Frames half way between red and blue, and noise that tips them."""
    rng = np.random.default_rng(seed)
    middle = (np.array(COLOURS["red"], float) + COLOURS["blue"]) / 2
    blocks = rng.normal(0, 25, (count, SIZE[0] // 8, SIZE[1] // 8, 3))
    noise = blocks.repeat(8, axis=1).repeat(8, axis=2)
    return list(np.clip(middle + noise, 0, 255).astype(np.uint8))


def flicker(found):
    values = np.stack(list(found.values()))
    return (values[1:] != values[:-1]).mean()


def test_smoothing_lessens_flicker_and_nothing_else_at_zero(tmp_path, segmenter):
    source = folder_of(tmp_path / "frames", flickering())
    change = {}
    for smooth in (0.0, 0.5, 0.9):
        out = tmp_path / f"out{smooth}"
        go(source, segmenter, out, smooth=smooth)
        change[smooth] = flicker(labels(out))
    # Averages of independent noise are correlated by S from frame to frame, and change sign with
    # the probability arccos(S) / pi: 0.5, 0.33 and 0.14.
    assert change[0.0] == pytest.approx(0.5, abs=0.06)
    assert change[0.5] == pytest.approx(1 / 3, abs=0.06)
    assert 0 < change[0.9] < 0.2
    for name, values in labels(tmp_path / "out0.0").items():
        alone = segmenter(source / f"{name}.png").labels
        np.testing.assert_array_equal(values, alone)


def test_a_cut_resets_the_average(tmp_path, segmenter):
    pictures = [plain("red")] * 4 + [plain("blue")] * 3
    source = folder_of(tmp_path / "frames", pictures)
    made = go(source, segmenter, tmp_path / "out", smooth=0.9)
    assert made.cuts == 1
    assert [int(v.max()) for v in labels(tmp_path / "out").values()] == [0] * 4 + [1] * 3


def test_the_average_is_the_closed_form_until_a_cut():
    memory, grey = Memory(0.75), np.full((40, 50, 3), 100, np.uint8)
    values = [torch.tensor([float(v)]) for v in (8, 0, 4)]
    got = [memory.blend(grey, [v])[0].item() for v in values]
    assert got == [8, 6, 0.75 * 6 + 0.25 * 4]
    assert memory.blend(grey + 100, [torch.tensor([1.0])])[0].item() == 1
    assert memory.cuts == 1


def test_a_slow_change_and_a_fast_pan_are_no_cuts():
    slow, rng = Memory(0.5), np.random.default_rng(0)
    for level in range(0, 250, 10):
        slow.blend(np.full((32, 32, 3), level, np.uint8), [torch.zeros(1)])
    assert slow.cuts == 0
    wide = np.repeat(rng.integers(0, 255, (1, 100, 3), dtype=np.uint8), 64, axis=0)
    wide, pan = wide.repeat(8, axis=1), Memory(0.5)
    for left in range(0, 640, 16):
        pan.blend(wide[:, left : left + 128], [torch.zeros(1)])
    assert pan.cuts <= 2


def test_a_memory_is_the_same_after_a_trip_to_disk():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (6, 20, 30, 3), dtype=np.uint8)
    maps = [torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(i)) for i in range(6)]
    one, other = Memory(0.6), Memory(0.6)
    for picture, new in zip(pictures, maps, strict=True):
        other = Memory.from_bytes(other.to_bytes())
        a, b = one.blend(picture, [new, new[:1]]), other.blend(picture, [new, new[:1]])
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    with pytest.raises((ValueError, KeyError, OSError)):
        Memory.from_bytes(b"nonsense")


@pytest.mark.parametrize("smooth", [-0.1, 1, float("nan")])
def test_smoothing_out_of_range(smooth):
    with pytest.raises(InputError, match="smooth must be"):
        Memory(smooth)


@pytest.mark.parametrize("smooth", [0.0, 0.8])
def test_what_a_kill_leaves_goes_on_to_the_same_result(tmp_path, segmenter, monkeypatch, smooth):
    source = folder_of(tmp_path / "frames", flickering(9))
    go(source, segmenter, tmp_path / "whole", smooth=smooth)
    saves, save = [], module.durable.write

    def noting(path, data):
        save(path, data)
        if path.parent.name == "out":
            saves.append(shutil.copytree(path.parent, tmp_path / f"kill{len(saves)}"))

    monkeypatch.setattr(module, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(module.durable, "write", noting)
    go(source, segmenter, tmp_path / "out", smooth=smooth)
    monkeypatch.undo()
    monkeypatch.setattr(module, "SAVE_EVERY", 0.0)
    expected = labels(tmp_path / "whole")
    kept = []
    for left in saves[1:-1:4]:
        made = go(source, segmenter, left, smooth=smooth)
        kept.append(made.kept)
        found = labels(left)
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[name], expected[name]) for name in expected)
        assert len(seen(left / "overlay.mp4")[1]) == 9
        assert len(list(left.glob(".memory-*"))) == 1
    assert kept == sorted(kept)
    assert kept[-1] >= 6


def test_what_is_done_is_kept_and_what_is_lost_is_made_again(tmp_path, segmenter):
    source = film(tmp_path / "in.mp4", [plain("red")] * 3)
    go(source, segmenter, tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.[pm][np][g4]")}
    assert go(source, segmenter, tmp_path / "out").kept == 3
    assert before == {p: p.stat().st_mtime_ns for p in before}
    (tmp_path / "out/overlay.mp4").unlink()
    assert go(source, segmenter, tmp_path / "out").kept == 3
    assert (tmp_path / "out/overlay.mp4").is_file()
    (tmp_path / "out/labels/frame_000001.png").unlink()
    assert go(source, segmenter, tmp_path / "out").kept == 0
    assert len(labels(tmp_path / "out")) == 3


def test_results_of_something_else_are_left_alone(tmp_path, segmenter):
    source = film(tmp_path / "in.mp4", [plain("red")] * 2)
    go(source, segmenter, tmp_path / "out")
    for options in ({"smooth": 0.5}, {"every": 2}):
        with pytest.raises(InputError, match="choose another folder"):
            go(source, segmenter, tmp_path / "out", **options)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/manifest.json").write_text("{}")
    with pytest.raises(InputError, match="choose another folder"):
        go(source, segmenter, tmp_path / "mine")


def test_two_runs_into_one_folder_exclude_each_other(tmp_path, segmenter):
    source = film(tmp_path / "in.mp4", [plain("red")] * 2)

    def rival(done, total):
        with pytest.raises(Locked):
            go(source, segmenter, tmp_path / "out")

    segment_video(source, segmenter, tmp_path / "out", progress=rival)


def test_no_video_gets_one_sentence(tmp_path, segmenter):
    (tmp_path / "film.mp4").write_text("not a film\n" * 100)
    (tmp_path / "notes.txt").write_text("ffmpeg would draw this text as a film\n" * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    whole = film(tmp_path / "in.mp4", flickering(20)).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    for name in ("film.mp4", "notes.txt", "empty.mp4", "cut.mp4"):
        with pytest.raises(VideoError, match="cannot be read as a video"):
            go(tmp_path / name, segmenter, tmp_path / "out")
    with pytest.raises(VideoError, match="does not exist"):
        go(tmp_path / "nowhere.mp4", segmenter, tmp_path / "out")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match="holds no pictures"):
        go(tmp_path / "sound.mp4", segmenter, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_torn_video_gives_what_can_be_decoded_and_says_so(tmp_path, segmenter):
    whole = film(tmp_path / "in.avi", flickering(20)).read_bytes()
    middle = len(whole) // 2
    (tmp_path / "torn.avi").write_bytes(whole[:middle] + bytes(200) + whole[middle + 200 :])
    made = go(tmp_path / "torn.avi", segmenter, tmp_path / "out", every=4)
    assert 1 <= made.frames <= 5
    assert len(seen(tmp_path / "out/overlay.mp4")[1]) == made.frames


@pytest.mark.parametrize(
    ("options", "message"),
    [({"every": 0}, "every"), ({"smooth": 1}, "smooth"), ({"fps": 5}, "has its own")],
)
def test_wrong_arguments_get_one_sentence(tmp_path, segmenter, options, message):
    source = film(tmp_path / "in.mp4", [plain("red")] * 2)
    with pytest.raises(InputError, match=message):
        go(source, segmenter, tmp_path / "out", **options)
    with pytest.raises(InputError, match="a Segmenter or a Student, not function"):
        go(source, plain, tmp_path / "out")
    with pytest.raises(InputError, match="fps must be"):
        open_frames(folder_of(tmp_path / "frames", [plain("red")]), 0)


def test_a_missing_extra_is_named(tmp_path, segmenter, monkeypatch):
    source = film(tmp_path / "in.mp4", [plain("red")])
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(InputError, match=r"pip install 'recoseg\[video\]'"):
        go(source, segmenter, tmp_path / "out")


def test_a_student_is_steadied_too(tmp_path):
    source, pupil = folder_of(tmp_path / "frames", flickering(4)), student()
    go(source, pupil, tmp_path / "plain")
    go(source, pupil, tmp_path / "steady", smooth=0.9)
    alone = [pupil(source / f"f{i}.png").labels for i in range(4)]
    found = list(labels(tmp_path / "plain").values())
    assert all(np.array_equal(a, b) for a, b in zip(found, alone, strict=True))
    memory = Memory(0.9)
    for i, values in enumerate(labels(tmp_path / "steady").values()):
        pixels = images.read(source / f"f{i}.png")
        maps = pupil.maps(pixels)
        average = maps.with_factors(memory.blend(pixels, maps.factors))
        np.testing.assert_array_equal(values, pupil.decide(pixels, average, False).labels)


def test_an_interrupt_after_a_frame_was_smoothed_and_before_it_was_noted(
    tmp_path, segmenter, monkeypatch
):
    source = folder_of(tmp_path / "frames", flickering(6))
    go(source, segmenter, tmp_path / "whole", smooth=0.8)
    save, saved = Segmentation.save, []

    def interrupted(self, path):
        if len(saved) == 3:
            raise KeyboardInterrupt
        saved.append(path)
        return save(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(Segmentation, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            go(source, segmenter, tmp_path / "out", smooth=0.8)
    go(source, segmenter, tmp_path / "out", smooth=0.8)
    for path in (tmp_path / "whole/labels").iterdir():
        assert path.read_bytes() == (tmp_path / "out/labels" / path.name).read_bytes()
