"""A concept's IoU by how many photos of it the archive holds."""

from __future__ import annotations

import pytest

import recoseg
from recoseg.errors import InputError
from recoseg.evaluation.rarity import measure_rarity
from recoseg.models.registry import Models
from recoseg.recipe import LITE
from tests.test_evaluation import NAMES, tree
from tests.toys import Toy, paint


def test_hidden_photos_are_not_learnt_from_and_the_line_ends_at_all_of_them(tmp_path):
    toy = Toy()
    models = Models(toy, toy, toy)
    for name in NAMES:
        for number in range(4):
            paint(tmp_path / "photos" / name / f"{number}.png", name)
    index = recoseg.Index.build(tmp_path / "photos", tmp_path / "i", model=toy, progress=False)
    recipe = LITE.replace(
        k=3, archive_size=64, image_size=64, scales=(1.0,), ce=False, contexts=(), centre=False,
        denseclip=False, lgc=False,
    )  # fmt: skip
    bank = recoseg.ConceptBank.build(list(NAMES), index, recipe, models=models, progress=False)
    shown = {"red": [id for id in index.ids if id.startswith("red/")]}
    dataset = tree(tmp_path / "data", 3)
    report = measure_rarity(
        dataset, bank, index, shown, (0, 3, 99), models=models, workers=1, progress=False
    )
    (series,) = report.sweeps
    points = {point["x"]: point["miou"] for point in series["points"]}
    assert list(points) == [0, 3, 4]
    assert (series["y"], {p["system"] for p in series["points"]}) == ("IoU", {"red"})
    # Without a photo of it, its reference is of another colour.
    assert points[0] < 0.5 < 0.95 < points[3] == points[4]
    for wrong in ({"owl": ["red/0.png"]}, {"red": []}):
        with pytest.raises(InputError, match="is no class, or no photo"):
            measure_rarity(dataset, bank, index, wrong, models=models, progress=False)
