"""What a file system may do to work: full disks, read-only folders, photos that go away."""

from __future__ import annotations

import errno
import os
from collections import Counter

import pytest
from PIL import Image
from typer.testing import CliRunner

from recoseg import exporting
from recoseg.cli.app import app
from recoseg.concepts.bank import ConceptBank
from recoseg.errors import ArchiveError, ImageError, RecosegError
from recoseg.index.index import Index
from recoseg.models import network, weights
from recoseg.runs import batch, inputs
from recoseg.segmenting.segmenter import Segmenter
from tests import hardships, pupils, storms
from tests.mutants import mutants
from tests.toys import Toy


def ids_of(index):
    return [skipped.id for skipped in index.skipped]


@pytest.fixture
def linked(tmp_path):
    """An index of two photos of its own folder and three of a linked one."""
    storms.photos(tmp_path / "photos", 2)
    storms.photos(tmp_path / "drive", 3)
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "drive")
    return Index.build(tmp_path / "photos", tmp_path / "x.index", model=Toy(), progress=False)


class TestAbsentFolders:
    def test_a_linked_folder_that_goes_away_is_told_and_its_photos_are_kept(self, linked, tmp_path):
        before = linked.ids
        (tmp_path / "drive").rename(tmp_path / "away")
        changes = linked.add(model=Toy(), progress=False)
        assert (changes.removed, changes.skipped) == (0, 1)
        assert (linked.ids, ids_of(linked)) == (before, ["linked"])
        assert "connect its drive or mend the link" in linked.skipped[0].reason

        (tmp_path / "away").rename(tmp_path / "drive")
        assert linked.add(model=Toy(), progress=False)[:5] == (0, 0, 0, 5, 0)
        assert linked.skipped == []

        (tmp_path / "photos" / "linked").unlink()
        assert linked.add(model=Toy(), progress=False).removed == 3
        assert len(linked.ids) == 2

    def test_what_a_kept_photo_needs_is_said_when_it_is_read(self, linked, tmp_path):
        (tmp_path / "drive").rename(tmp_path / "away")
        linked.add(model=Toy(), progress=False)
        with pytest.raises(ArchiveError, match=r"linked/00\.png cannot be read .*; restore it"):
            linked.image("linked/00.png")

    def test_photos_of_a_folder_that_cannot_be_listed_are_kept(self, linked, monkeypatch):
        real = os.scandir

        def scandir(path):
            if str(path).endswith("/linked/"):
                raise PermissionError(13, "Permission denied", path)
            return real(path)

        before = linked.ids
        monkeypatch.setattr(os, "scandir", scandir)
        assert linked.add(model=Toy(), progress=False).removed == 0
        assert (linked.ids, ids_of(linked)) == (before, ["linked/"])

    def test_names_that_only_begin_alike_are_forgotten(self, linked, tmp_path):
        storms.photos(tmp_path / "photos" / "linked2", 1)
        linked.add(model=Toy(), progress=False)
        (tmp_path / "drive").rename(tmp_path / "away")
        (tmp_path / "photos" / "linked2" / "00.png").unlink()
        assert linked.add(model=Toy(), progress=False).removed == 1


@pytest.fixture
def small_steps(monkeypatch):
    """What a storm makes small is as it was afterwards."""
    for module, name in storms.SMALL:
        monkeypatch.setattr(module, name, getattr(module, name))


# How many writes fit on the disk; the long version (`make storm`) tries every number.
MOMENTS = {
    "index": (0, 1, 4, 9),
    "segment": (0, 9),
    "concept": range(9),
    "export": range(9),
    "video": (0, 6),
    "labels": range(20),
    "student": range(9),
}


# Parts of `adapt`, which is stormed as a whole in the long version.
PARTS = (
    storms.Verb(
        "labels",
        lambda home: pupils.paint_scenes(home / "photos"),
        lambda home: pupils.teaching(home / "photos", home / "out"),
        storms.look_at_results,
        lambda home: storms.files_of(home, "out", "*.png"),
        "out",
    ),
    storms.Verb(
        "student",
        lambda home: None,
        lambda home: pupils.student(seed=3).save(home / "out"),
        storms.look_at_student,
        lambda home: storms.files_of(home, "out"),
        "out",
    ),
)


@pytest.mark.parametrize("name", MOMENTS)
def test_a_disk_that_is_full_at_any_write(name, tmp_path, small_steps):
    verb = next(verb for verb in (*storms.VERBS, *PARTS) if verb.name == name)
    storm = storms.Storm(verb, tmp_path / "storm", seed=0)
    counts = hardships.fill_disk(storm, MOMENTS[name])
    assert storm.notes == []
    assert set(counts) == {"full disks", "completed"}
    assert counts["completed"] == counts["full disks"] >= 1


def test_a_full_disk_is_one_sentence_and_status_3(tmp_path):
    storms.with_results(tmp_path)
    words = ["export", str(tmp_path / "out"), "coco-rle", "--out", str(tmp_path / "x")]
    with hardships.full_after(0):
        done = CliRunner().invoke(app, words)
    assert done.exit_code == 3
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("recoseg: ")
    assert "(No space left on device)" in said
    assert not (tmp_path / "x").exists()


INPUTS = {
    "index": lambda home: storms.photos(home / "photos", 3),
    "segment": storms.with_photos(3),
    "export": storms.with_results,
    "video": storms.with_frames,
    "adapt": storms.scenes,
}
OUT = {"index": "x.index", "export": "coco"}


@pytest.mark.parametrize("name", INPUTS)
class TestOutputFolder:
    def test_a_file_in_its_place_is_refused_and_kept(self, name, tmp_path):
        INPUTS[name](tmp_path)
        place = tmp_path / OUT.get(name, "out")
        if name == "export":
            (tmp_path / "above").write_text("mine")
            place = tmp_path / "above"
            with pytest.raises(RecosegError, match="because a file is in its place"):
                exporting.write(tmp_path / "out", "voc", place / "coco", progress=False)
        else:
            place.write_text("mine")
            with pytest.raises(RecosegError, match="file"):
                next(v for v in storms.VERBS if v.name == name).run(tmp_path)
        assert place.read_text() == "mine"

    def test_nothing_may_be_written(self, name, tmp_path, monkeypatch):
        """A drive that is read-only, which holds for root too."""
        INPUTS[name](tmp_path)
        real_open, real_mkdir = os.open, os.mkdir

        def opened(path, flags, *more, **options):
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and str(path).startswith(
                str(tmp_path)
            ):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return real_open(path, flags, *more, **options)

        def made(path, *more, **options):
            if str(path).startswith(str(tmp_path)):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            real_mkdir(path, *more, **options)

        before = storms.names_in(tmp_path)
        monkeypatch.setattr(os, "open", opened)
        monkeypatch.setattr(os, "mkdir", made)
        verb = next(verb for verb in storms.VERBS if verb.name == name)
        with pytest.raises(RecosegError, match=r"cannot be written \(Read-only file system\)"):
            verb.run(tmp_path)
        monkeypatch.undo()
        assert storms.names_in(tmp_path) == before


class TestVanishingPhotos:
    def test_segment_keeps_what_is_done_and_goes_on_when_they_are_back(self, tmp_path):
        storms.with_photos(6)(tmp_path)
        chosen = storms.segmenter(tmp_path)
        given = inputs.gather([tmp_path / "photos"])

        def outcomes():
            return batch.run(given, chosen, tmp_path / "out", chosen.identity, progress=False)

        states = []
        for outcome in outcomes():
            states.append(outcome.state)
            if len(states) == 2:
                (tmp_path / "photos").rename(tmp_path / "away")
        assert states == ["done"] * 2 + ["failed"] * 4
        assert "photos/05.png" in outcome.reason
        (tmp_path / "away").rename(tmp_path / "photos")
        assert [outcome.state for outcome in outcomes()] == ["kept"] * 2 + ["done"] * 4

    def test_index_lists_them_and_takes_them_when_they_are_back(self, tmp_path):
        photos = storms.photos(tmp_path / "photos", 24)

        def watch(done, total):
            if done >= 3 and photos.exists():
                photos.rename(tmp_path / "away")

        index = Index.build(
            photos, tmp_path / "x.index", model=Toy(), batch_size=1, workers=1, progress=watch
        )
        assert 0 < len(index) < 24
        assert len(index) + len(index.skipped) == 24
        assert "cannot be read" in index.skipped[-1].reason
        with pytest.raises(ArchiveError):
            index.add(model=Toy(), progress=False)
        (tmp_path / "away").rename(photos)
        index.add(model=Toy(), progress=False)
        assert (len(index), index.skipped) == (24, [])

    def test_a_folder_of_photos_that_is_gone_forgets_nothing(self, linked, tmp_path):
        (tmp_path / "photos").rename(tmp_path / "away")
        with pytest.raises(ArchiveError):
            linked.add(model=Toy(), progress=False)
        assert len(linked.ids) == 5


def test_many_files_in_one_folder_are_embedded_once(tmp_path):
    """In small; benchmarks/hardship.py has 5,000."""
    for i in range(300):
        path = tmp_path / "photos" / f"{i:03d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (i % 256, i // 256, 0)).save(path)
        os.utime(path, (1e9, 1e9))
    toy = Toy()
    index = Index.build(
        tmp_path / "photos", tmp_path / "x", model=toy, batch_size=50, progress=False
    )
    calls = toy.calls
    assert index.add(model=toy, progress=False) == (0, 0, 0, 300, 0)
    assert toy.calls == calls


def test_damaged_photos_are_images_or_refused():
    """In small; benchmarks/hardship.py segments thousands with `lite`."""
    chosen = Segmenter(storms.bank(), models=storms.MODELS, refine=False)
    seen, reasons = Counter(), []
    for data in mutants(300, seed=1):
        try:
            assert chosen(data).labels.size
            seen["segmented"] += 1
        except ImageError as error:
            reasons.append(str(error))
    assert seen["segmented"] > 50
    assert len(reasons) > 50
    assert not any("\n" in reason for reason in reasons)


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("mine")
    monkeypatch.setenv("RECOSEG_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setattr(network, "_check_reachable", lambda url, patience: None)
    with pytest.raises(RecosegError, match="because a file is in its place"):
        network.download_url("https://example.org/x.pt", weights.weights_folder())
    assert (tmp_path / "cache").read_text() == "mine"


def test_lite_needs_no_cache(tmp_path, monkeypatch):
    (tmp_path / "home").write_text("mine")
    for name in ("HOME", "XDG_CACHE_HOME", "HF_HOME", "RECOSEG_WEIGHTS", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    image = storms.photos(tmp_path / "photos", 1) / "00.png"
    chosen = Segmenter(ConceptBank.everyday(), ["dog", "grass"], refine=False)
    assert chosen(image).labels.shape == (32, 32)
