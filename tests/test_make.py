"""Results and pseudo-labels that many machines made are those of a single machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from ray import cloudpickle

from recoseg.concepts.bank import ConceptBank
from recoseg.errors import RecosegError
from recoseg.index.index import Index
from recoseg.learning.pseudolabels import Ignoring, make_pseudo_labels
from recoseg.models import registry
from recoseg.models.registry import Models
from recoseg.recipe import LITE
from recoseg.runs import batch, make
from recoseg.runs.inputs import gather
from recoseg.segmenting.segmenter import Segmenter
from tests.clusters import Dying, Here
from tests.pupils import NAMES, colour_segmenter
from tests.toys import COLOURS, Toy, paint

SMALL = LITE.replace(archive_size=64, image_size=64, k=3)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(make, "BLOCK", 2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return scenes_in(tmp_path / "photos")


def scenes_in(folder: Path) -> Path:
    """Eleven photos of two colours, and a damaged one."""
    for number, name in enumerate([*COLOURS, *COLOURS][:11]):
        paint(folder / f"{number % 2}" / f"{number:02d}.png", name, NAMES[number % 3])
    (folder / "bad.png").write_bytes(b"no image")
    return folder


def files_of(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def segment(photos: Path, out: Path, cluster=None, work=colour_segmenter):
    found = gather([photos])
    return list(batch.run(found, work, out, {"names": list(NAMES)}, False, cluster))


def states(outcomes) -> list[str]:
    return [outcome.state for outcome in outcomes]


@pytest.mark.parametrize("order", [None, 0])
def test_a_cluster_makes_the_same_files(photos, tmp_path, monkeypatch, order):
    monkeypatch.chdir(tmp_path)
    plain = segment(photos, Path("plain"))
    made = segment(photos, Path("made"), Here(order, twice=True))
    assert files_of(Path("made")) == files_of(Path("plain"))
    assert states(made) == states(plain) == ["done"] * 11 + ["failed"]
    assert made[0].labels == Path("made/labels/0/00.png")
    assert [m.reason for m in made] == [p.reason for p in plain]
    assert [m.area for m in made] == [p.area for p in plain]


def test_what_is_there_is_kept_and_what_is_damaged_made_anew(photos, tmp_path):
    out = tmp_path / "made"
    first = segment(photos, out, Here())
    before = files_of(out)
    first[3].labels.write_bytes(b"torn")
    again = segment(photos, out, Here())
    assert states(again) == [*["kept"] * 3, "done", *["kept"] * 7, "failed"]
    assert files_of(out) == before


@pytest.mark.parametrize("after", range(1, 6))
def test_killed_after_any_block_it_goes_on(photos, tmp_path, after):
    out = tmp_path / "made"
    with pytest.raises(KeyboardInterrupt):
        segment(photos, out, Dying(after))
    again = segment(photos, out, Here())
    assert states(again).count("kept") == min(2 * after, 11)
    plain = tmp_path / "plain"
    segment(photos, plain)
    assert files_of(out) == files_of(plain)


class Elsewhere(Here):
    """A machine that does not see a folder."""

    def __init__(self, hidden: Path) -> None:
        super().__init__()
        self.hidden = hidden

    def map(self, function, blocks):
        for block in list(blocks):
            self.hidden.rename(self.hidden.with_name("away"))
            try:
                made = list(super().map(function, [block]))
            finally:
                self.hidden.with_name("away").rename(self.hidden)
            yield from made


def test_a_node_that_does_not_see_the_folders_is_told(photos, tmp_path):
    with pytest.raises(RecosegError, match=r"made is not seen from .*; put the results"):
        segment(photos, tmp_path / "made", Elsewhere(tmp_path / "made"))
    with pytest.raises(RecosegError, match="is seen here and not from all nodes"):
        segment(photos, tmp_path / "made", Elsewhere(photos))


def test_a_photo_that_vanished_fails_alone(photos, tmp_path):
    class Late(Here):
        def map(self, function, blocks):
            (photos / "0" / "02.png").unlink()
            yield from super().map(function, blocks)

    made = segment(photos, tmp_path / "made", Late())
    assert states(made).count("done") == 10
    assert states(made).count("failed") == 2


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_pseudo_labels_and_their_coverage_are_the_same(photos, tmp_path, threshold):
    def label(name: str, cluster=None):
        asked = Ignoring(threshold)
        jobs, out = gather([photos]), tmp_path / name
        return make_pseudo_labels(
            *(jobs, colour_segmenter, NAMES, out, {"a": 1}, asked),
            progress=False,
            cluster=cluster,
        )

    plain, made = label("plain"), label("made", Here(1))
    assert files_of(tmp_path / "made") == files_of(tmp_path / "plain")
    assert made.coverage == plain.coverage
    assert made.failed == plain.failed
    shutil.rmtree(tmp_path / "made" / "confidence")
    label("made", Here())
    assert files_of(tmp_path / "made") == files_of(tmp_path / "plain")


@pytest.fixture
def segmenter(photos, tmp_path) -> Segmenter:
    toy = Toy()
    models = Models(toy, toy, toy)
    index = Index.build(photos, tmp_path / "index", model=toy, progress=False)
    bank = ConceptBank.build(list(NAMES), index, SMALL, models=models, progress=False)
    return Segmenter(bank, models=models, strength=2.0)


def test_a_segmenter_that_was_sent_is_the_same(segmenter, photos):
    sent = cloudpickle.loads(cloudpickle.dumps(segmenter))
    assert sent.identity == segmenter.identity
    photo = photos / "0" / "00.png"
    one, other = segmenter(photo), sent(photo)
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(one.confidence, other.confidence)


def test_models_that_a_recipe_names_are_loaded_and_not_sent(segmenter, monkeypatch):
    toy = Toy()
    loaded = []

    def load(model, device):
        loaded.append(model)
        return toy

    monkeypatch.setattr(registry, "_load", load)
    there = Segmenter(segmenter.bank, strength=2.0)
    loaded.clear()
    data = cloudpickle.dumps(there)
    assert not loaded
    assert b"toys" not in data
    assert cloudpickle.loads(data).identity == segmenter.identity
    assert loaded


def test_a_node_with_other_weights_is_refused(segmenter, monkeypatch):
    monkeypatch.setattr(registry, "_load", lambda model, device: Toy())
    data = cloudpickle.dumps(Segmenter(segmenter.bank))
    monkeypatch.setattr(registry, "_load", lambda model, device: Toy(seed=1))
    with pytest.raises(RecosegError, match="use the same weights"):
        cloudpickle.loads(data)


def test_a_concept_is_sent_without_the_matrix_that_its_vectors_are_rows_of(segmenter):
    import dataclasses

    import torch

    concept = segmenter.bank["red"]
    wide = torch.zeros(1000, len(concept.text))
    wide[3] = concept.text
    row = dataclasses.replace(concept, text=wide[3])
    assert len(cloudpickle.dumps(row)) < 2 * len(cloudpickle.dumps(concept))
    assert cloudpickle.loads(cloudpickle.dumps(row)) == concept
