"""Photos behind URLs and in tar files, segmented and taught from as from a folder."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ray import cloudpickle
from typer.testing import CliRunner

import recoseg
from recoseg.baselines.photos import Photos
from recoseg.cli.app import app
from recoseg.errors import ArchiveError, ImageError, InputError, RecosegError
from recoseg.io import images, remote, stored
from recoseg.io.archive import Archive
from recoseg.learning.validation import Labelled
from recoseg.runs import batch
from recoseg.runs.inputs import gather
from tests.clusters import Here
from tests.pupils import NAMES, PLAN, colour_segmenter
from tests.test_make import files_of, segment, states
from tests.test_make import photos as photos  # these are fixtures
from tests.test_make import segmenter as segmenter
from tests.test_remote import bucket as bucket
from tests.test_remote import upload
from tests.toys import paint

URL = "memory:///bucket/photos"


@pytest.fixture
def far(bucket, photos) -> str:
    """The photos behind a URL; a name of one is odd."""
    paint(photos / "odd \\ name é.png", "red", "blue")
    return upload(bucket, photos, "/bucket/photos")


@pytest.fixture
def fetched(monkeypatch) -> Counter[str]:
    """How often each photo was fetched."""
    counts = Counter[str]()
    read = remote.RemoteFolder.read

    def counting(self, id: str) -> bytes:
        counts[id] += 1
        return read(self, id)

    monkeypatch.setattr(remote.RemoteFolder, "read", counting)
    return counts


def put(bucket, path: Path, name: str) -> None:
    bucket.pipe_file(f"/bucket/photos/{name}", path.read_bytes())


def pack(folder: Path, to: Path) -> Path:
    """The photos in two tar files."""
    to.mkdir(parents=True)
    for half in ("0", "1"):
        with tarfile.open(to / f"{half}.tar", "w") as tar:
            for path in sorted((folder / half).iterdir()):
                tar.add(path, path.name)
    return to


# what is found


def test_a_url_means_the_photos_that_its_folder_means(far, photos):
    near, there = gather([photos]), gather([far])
    assert [job.id for job in there] == [job.id for job in near]
    assert [job.stem for job in there] == [job.stem for job in near]
    assert str(there[0].source) == f"{URL}/0/00.png"
    assert [job.id for job in gather([f"{URL}/*/*.png"])] == [j.id for j in near if "/" in j.id]


def test_urls_paths_and_patterns_are_taken_together_and_each_photo_once(far, photos, tmp_path):
    mine = paint(tmp_path / "mine.png", "red")
    found = gather([far, f"{URL}/0/00.png", mine])
    assert Counter(job.id for job in found) == Counter(
        [*(job.id for job in gather([far])), "mine.png"]
    )
    (one,) = gather([f"{URL}/0/00.png"])
    assert (one.id, str(one.source)) == ("00.png", f"{URL}/0/00.png")
    with pytest.raises(InputError, match=r"memory:///bucket/photos/0/00.png and .* one name"):
        gather([f"{URL}/0/00.png", photos / "0" / "00.png"])


def test_a_url_of_files_here_is_a_path(photos):
    """So that results below it are left out, as below a path."""
    (photos / "seen" / "labels").mkdir(parents=True)
    paint(photos / "seen" / "labels" / "00.png", "red")
    (photos / "seen" / "manifest.json").write_text('{"format": "recoseg-segmentation/1"}')
    assert gather([f"file://{photos}"]) == gather([photos])


@pytest.mark.parametrize("given", ["", "/*.tar", "/0.tar"])
def test_tar_files_are_read_in_place_here_and_behind_a_url(bucket, photos, tmp_path, given):
    tars = pack(photos, tmp_path / "tars")
    (tars / "notes.txt").write_text("no photo")
    upload(bucket, tars, "/bucket/tars")
    near, far = gather([f"{tars}{given}"]), gather([f"memory:///bucket/tars{given}"])
    assert [job.id for job in near] == [job.id for job in far]
    assert [job.stem for job in near] == [job.stem for job in far]
    assert near[0].id == "0.tar/00.png"
    assert str(near[0].source) == f"{tars}/0.tar/00.png"
    assert str(far[0].source) == "memory:///bucket/tars/0.tar/00.png"
    for one, other in zip(near, far, strict=True):
        folder, name = one.id.split(".tar/")
        expected = (photos / folder / name).read_bytes()
        assert one.source.read() == other.source.read() == expected


def test_results_among_tar_files_do_not_hide_them(photos, tmp_path):
    tars = pack(photos, tmp_path / "tars")
    first = segment(tars, tars / "seen")
    again = segment(tars, tars / "seen")
    assert states(first) == ["done"] * 11
    assert states(again) == ["kept"] * 11


def test_what_cannot_be_listed_is_said_and_the_rest_is_taken(photos, tmp_path):
    tars = pack(photos, tmp_path / "tars")
    (tars / "2.tar").write_bytes(b"no tar" * 200)
    with tarfile.open(tars / "1.tar", "a") as tar:
        tar.add(photos / "0" / "00.png", "../../out.png")
    notes: list[str] = []
    found = gather([tars], unlisted=notes)
    assert len(found) == 11
    assert len(notes) == 2
    assert any("2.tar is left out: " in note for note in notes)
    assert any("out.png is left out: no file below a folder" in note for note in notes)


def test_names_too_long_for_files_here_are_cut_and_stay_apart(bucket, tmp_path):
    data = paint(tmp_path / "a.png", "red").read_bytes()
    for name in ("x" * 300, "x" * 301):
        bucket.pipe_file(f"/bucket/photos/{name}/a.png", data)
    done = list(batch.run(gather([URL]), colour_segmenter, tmp_path / "out", {}, False))
    assert states(done) == ["done", "done"]
    assert len({outcome.labels for outcome in done}) == 2


def test_a_verb_that_needs_files_says_so(far, photos, tmp_path):
    for refused in (lambda: Photos.of(far, 32), lambda: Labelled.of(far, tmp_path)):
        with pytest.raises(InputError, match=r"is no file of its own .*; copy the photos into"):
            refused()


def test_a_url_that_is_not_there_or_cannot_be_opened_is_one_sentence(bucket, monkeypatch):
    with pytest.raises(ArchiveError, match="holds no image"):
        gather(["memory:///bucket/nothing"])
    with pytest.raises(ArchiveError, match="needs a package that is not installed"):
        gather(["abfs://container/photos"])
    with pytest.raises(ArchiveError, match="holds a password, which would be kept"):
        gather(["ftp://me:secret@host/photos"])
    with pytest.raises(ImageError, match="a pattern or a URL"):
        gather(["nowhere"])
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ArchiveError, match=r"pip install 'recoseg\[remote\]'"):
        gather([URL])


# segmenting


def test_the_files_are_those_of_the_folder(far, photos, tmp_path, fetched):
    near = segment(photos, tmp_path / "near")
    there = segment(far, tmp_path / "there")
    assert files_of(tmp_path / "there") == files_of(tmp_path / "near")
    assert states(there) == states(near)
    assert states(there).count("failed") == 1
    failed = next(outcome for outcome in there if outcome.state == "failed")
    assert failed.reason.startswith(f"{URL}/bad.png cannot be read as an image")
    assert set(fetched.values()) == {1}


def test_the_same_folder_of_results_goes_on_from_either(far, photos, tmp_path):
    segment(photos, tmp_path / "out")
    assert set(states(segment(far, tmp_path / "out"))) == {"kept", "failed"}


@pytest.mark.parametrize("after", [1, 5, 11])
def test_killed_at_any_photo_it_goes_on(far, photos, tmp_path, after):
    done = []

    def mortal(image):
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(image)
        return colour_segmenter(image)

    with pytest.raises(KeyboardInterrupt):
        segment(far, tmp_path / "out", work=mortal)
    again = segment(far, tmp_path / "out")
    assert states(again).count("kept") == after
    segment(photos, tmp_path / "near")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "near")


def test_a_photo_that_vanished_fails_alone_and_is_taken_when_it_is_back(
    bucket, far, photos, tmp_path
):
    jobs = gather([far])
    bucket.rm_file("/bucket/photos/0/02.png")

    def go():
        return list(batch.run(jobs, colour_segmenter, tmp_path / "out", {"names": NAMES}, False))

    made = {outcome.id: outcome for outcome in go()}
    assert Counter(outcome.state for outcome in made.values()) == {"done": 11, "failed": 2}
    assert "0/02.png cannot be read from memory" in made["0/02.png"].reason
    put(bucket, photos / "0" / "02.png", "0/02.png")
    again = {outcome.id: outcome.state for outcome in go()}
    assert again["0/02.png"] == "done"
    assert Counter(again.values()) == {"kept": 11, "failed": 1, "done": 1}


def test_a_changed_photo_alone_is_done_again(bucket, far, photos, tmp_path):
    segment(far, tmp_path / "out")
    put(bucket, paint(photos / "0" / "02.png", "green", "red"), "0/02.png")
    again = {outcome.id: outcome.state for outcome in segment(far, tmp_path / "out")}
    assert [id for id, state in again.items() if state == "done"] == ["0/02.png"]
    segment(photos, tmp_path / "near")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "near")


@pytest.fixture
def tags(bucket, monkeypatch) -> None:
    """The store tells a tag of each file that changes with its bytes, as S3 does."""
    find = type(bucket).find

    def telling(self, path, **how):
        found = find(self, path, **how)
        for name, info in found.items():
            info["ETag"] = hashlib.md5(self.store[name].getvalue()).hexdigest()
        return found

    monkeypatch.setattr(type(bucket), "find", telling)


@pytest.mark.parametrize("engine", [None, Here()])
def test_what_its_store_says_is_unchanged_is_not_fetched_again(
    bucket, far, photos, tmp_path, tags, fetched, engine
):
    first = segment(far, tmp_path / "out", engine)
    fetched.clear()
    again = segment(far, tmp_path / "out", engine)
    assert Counter(states(again)) == {"kept": 12, "failed": 1}
    assert fetched == {"bad.png": 1}
    put(bucket, paint(photos / "0" / "02.png", "green", "red"), "0/02.png")
    first[4].labels.write_bytes(b"torn")
    fetched.clear()
    mended = {outcome.id: outcome.state for outcome in segment(far, tmp_path / "out", engine)}
    done = {id for id, state in mended.items() if state == "done"}
    assert done == {"0/02.png", first[4].id}
    assert set(fetched) == {*done, "bad.png"}
    for other in ("memory:///bucket/elsewhere", photos):
        upload(bucket, photos, "/bucket/elsewhere")
        assert Counter(states(segment(other, tmp_path / "out"))) == {"kept": 12, "failed": 1}


def test_members_of_a_tagged_tar_file_are_not_fetched_again(
    bucket, photos, tmp_path, tags, monkeypatch
):
    tars = pack(photos, tmp_path / "tars")
    upload(bucket, tars, "/bucket/tars")
    segment("memory:///bucket/tars", tmp_path / "out")

    def refuse(self, id):
        raise AssertionError(id)

    monkeypatch.setattr(remote.RemoteTars, "read", refuse)
    assert states(segment("memory:///bucket/tars", tmp_path / "out")) == ["kept"] * 11


def test_nothing_of_a_url_is_written(far, tmp_path):
    segment(far, tmp_path / "out")
    for data in files_of(tmp_path / "out").values():
        assert b"memory:" not in data


def test_the_command_line_takes_urls(far, segmenter, tmp_path, monkeypatch):
    monkeypatch.setattr("recoseg.cli.segment_options.SegmentOptions.segmenter", lambda _: segmenter)
    words = ["segment", far, "--out", str(tmp_path / "out"), "-q"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 3
    assert result.stdout.count("done\t") == 12
    assert f"failed bad.png: {URL}/bad.png cannot be read as an image" in result.stderr
    words[1] = "abfs://container/photos"
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 3
    assert "needs a package that is not installed" in result.stderr


# many machines


@pytest.mark.parametrize("order", [None, 0])
def test_a_cluster_makes_the_same_files(far, photos, tmp_path, order):
    segment(photos, tmp_path / "near")
    segment(far, tmp_path / "there", Here(order, twice=True))
    assert files_of(tmp_path / "there") == files_of(tmp_path / "near")
    tars = pack(photos, tmp_path / "tars")
    segment(tars, tmp_path / "plain")
    segment(tars, tmp_path / "made", Here(order))
    assert files_of(tmp_path / "made") == files_of(tmp_path / "plain")


def test_a_machine_opens_what_it_is_sent_once(far, photos, tmp_path, monkeypatch):
    opened = []
    reopen = Archive.reopen

    def counting(description):
        opened.append(description)
        return reopen(description)

    monkeypatch.setattr(stored.Archive, "reopen", counting)
    segment(far, tmp_path / "out", Here())
    assert len(opened) == 1
    (job, *_) = gather([far])
    assert cloudpickle.loads(cloudpickle.dumps(job)) == job
    assert len(cloudpickle.dumps(job)) < 1000


def test_a_changed_tar_file_is_not_read_by_its_old_places(photos, tmp_path):
    """Though the machine has read the headers of the one before."""
    tars = pack(photos, tmp_path / "tars")
    segment(tars, tmp_path / "out", Here())
    shutil.rmtree(tars)
    (photos / "0" / "00.png").unlink()
    paint(photos / "0" / "04.png", "green", "red", size=96)
    pack(photos, tars)
    again = {outcome.id: outcome.state for outcome in segment(tars, tmp_path / "out", Here())}
    assert [id for id, state in again.items() if state == "done"] == ["0.tar/04.png"]
    segment(tars, tmp_path / "plain")
    assert again.keys() == {f"{job.id}" for job in gather([tars])}


class Blind(Here):
    """A machine that cannot fetch some photos."""

    def __init__(self, monkeypatch, lost) -> None:
        super().__init__()
        self.patch, self.lost = monkeypatch, lost

    def map(self, function, blocks):
        read = stored.Store.read

        def failing(store, id):
            if self.lost(id):
                raise ArchiveError("no network")
            return read(store, id)

        for block in list(blocks):
            with self.patch.context() as patch:
                patch.setattr(stored.Store, "read", failing)
                made = list(super().map(function, [block]))
            yield from made


def test_a_node_without_access_is_told_and_one_photo_fails_alone(far, tmp_path, monkeypatch):
    with pytest.raises(RecosegError, match=r"0/00\.png is seen here and not from all nodes"):
        segment(far, tmp_path / "out", Blind(monkeypatch, lambda id: True))
    made = segment(far, tmp_path / "out", Blind(monkeypatch, lambda id: id == "0/02.png"))
    failed = [outcome for outcome in made if outcome.state == "failed"]
    assert [outcome.id for outcome in failed] == ["0/02.png", "bad.png"]
    assert failed[0].reason == "no network"


# teaching


def teach(segmenter, source, out: Path, **how):
    how = {"preset": PLAN, "device": "cpu", "progress": False, **how}
    return recoseg.adapt(segmenter, source, out, **how)


def copies(out: Path) -> set[str]:
    return {path.name for path in (out / "photos").iterdir()}


@pytest.mark.parametrize("engine", [None, Here(1)])
def test_a_student_of_a_url_is_that_of_the_folder(
    segmenter,
    far,
    photos,
    tmp_path,
    fetched,
    engine,
):
    near, there = tmp_path / "near", tmp_path / "there"
    teach(segmenter, photos, near)
    teach(segmenter, far, there, cluster=engine)
    assert files_of(there / "round-1" / "labels") == files_of(near / "round-1" / "labels")
    name = "student.safetensors"
    assert (there / name).read_bytes() == (near / name).read_bytes()
    assert fetched == {job.id.replace("\\", "\\\\"): 1 for job in gather([photos])}
    assert len(copies(there)) == len(fetched)
    assert not (near / "photos").exists()


def test_a_student_of_tar_files_reads_them_in_place(segmenter, photos, tmp_path):
    tars = pack(photos, tmp_path / "tars")
    shutil.copytree(photos / "0", tmp_path / "plain" / "0.tar")
    shutil.copytree(photos / "1", tmp_path / "plain" / "1.tar")
    teach(segmenter, tars, tmp_path / "a")
    teach(segmenter, tmp_path / "plain", tmp_path / "b")
    name = "student.safetensors"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert not (tmp_path / "a" / "photos").exists()


def test_a_killed_adaptation_fetches_what_is_missing(
    segmenter,
    far,
    tmp_path,
    fetched,
    monkeypatch,
):
    read = remote.RemoteFolder.read

    def mortal(self, id: str) -> bytes:
        if len(fetched) == 5:
            raise KeyboardInterrupt
        return read(self, id)

    with monkeypatch.context() as patch:
        patch.setattr(remote.RemoteFolder, "read", mortal)
        with pytest.raises(KeyboardInterrupt):
            teach(segmenter, far, tmp_path / "s")
    assert len(copies(tmp_path / "s")) == 5
    teach(segmenter, far, tmp_path / "s")
    assert set(fetched.values()) == {1}


def test_copies_follow_the_photos_and_nothing_else_is_removed(
    bucket,
    segmenter,
    far,
    photos,
    tmp_path,
    fetched,
):
    out = tmp_path / "s"
    teach(segmenter, far, out, preset=PLAN.replace(iterations=1))
    before = copies(out)
    (out / "photos" / "mine.txt").write_text("kept")
    put(bucket, paint(photos / "0" / "02.png", "green", "red"), "0/02.png")
    bucket.rm_file("/bucket/photos/0/00.png")
    fetched.clear()
    shutil.rmtree(out / "round-1")
    teach(segmenter, far, out, preset=PLAN.replace(iterations=1))
    assert fetched == {"0/02.png": 1}
    assert "mine.txt" in copies(out)
    assert len(before - copies(out)) == 2
    kept = [path.read_bytes() for path in (out / "photos").glob("*.png")]
    assert (photos / "0" / "02.png").read_bytes() in kept


def test_a_torn_copy_never_has_the_name_of_a_whole_one(far, tmp_path, monkeypatch):
    job = next(job for job in gather([far], copies=tmp_path / "c") if job.id == "0/00.png")

    def full(*_args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(RecosegError, match="make room"):
            job.source.read()
    assert list((tmp_path / "c").iterdir()) == []
    pixels = stored.read_pixels(job.source)
    (copy,) = (tmp_path / "c").iterdir()
    np.testing.assert_array_equal(pixels, images.read(copy))


def test_one_unreachable_photo_leaves_the_others_to_be_learnt(
    bucket,
    segmenter,
    far,
    tmp_path,
    monkeypatch,
):
    read = remote.RemoteFolder.read

    def flaky(self, id: str) -> bytes:
        if id == "0/02.png":
            raise ArchiveError(f"{id} cannot be read from there (timeout); try again.")
        return read(self, id)

    monkeypatch.setattr(remote.RemoteFolder, "read", flaky)
    teach(segmenter, far, tmp_path / "s", preset=PLAN.replace(iterations=1))
    report = (tmp_path / "s" / "report.json").read_text()
    assert "0/02.png cannot be read from there (timeout)" in report
    assert len(copies(tmp_path / "s")) == 12


def test_adapt_of_the_command_line_takes_urls(far, segmenter, tmp_path, monkeypatch):
    from recoseg.learning import plan

    monkeypatch.setitem(plan.PRESETS, "small", PLAN.replace(iterations=1))
    monkeypatch.setattr("recoseg.cli.adapt_verbs._teacher", lambda *_: segmenter)
    words = ["adapt", far, "--out", str(tmp_path / "s"), "--device", "cpu", "-q"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "s" / "student.safetensors").exists()
