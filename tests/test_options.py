"""Options of segmenting: one frozen value, the same for every door, and part of every identity."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoseg.cli.segment_options import SegmentOptions
from recoseg.concepts.concept import STRICTNESSES
from recoseg.errors import InputError, RecipeError
from recoseg.learning.pseudolabels import make_pseudo_labels
from recoseg.runs import batch
from recoseg.runs.inputs import gather
from recoseg.segmenting.interface import ImageSegmenter
from recoseg.segmenting.options import USUAL_SHORTLIST, USUAL_SURE, Options
from recoseg.segmenting.segmenter import Segmenter
from recoseg.student.student import Student
from recoseg.video import segment_video
from tests import pupils
from tests.test_segment import NAMES, bank_of, photo, segmenter
from tests.toys import paint

CHANGES = {
    "concepts": ("red",),
    "refine": False,
    "unknown": True,
    "strictness": 0.9,
    "sure": 0.6,
    "shortlist": 3,
    "strength": 2.0,
    "temperature": 0.5,
    "system": "denseclip",
}
valid = st.fixed_dictionaries(
    {},
    optional={
        "concepts": st.none() | st.lists(st.sampled_from("abc"), min_size=1, max_size=3),
        "refine": st.booleans(),
        "unknown": st.booleans(),
        "strictness": st.none() | st.floats(STRICTNESSES[0], STRICTNESSES[-1]),
        "shortlist": st.none() | st.integers(1, 99),
        "strength": st.floats(0, 100) | st.integers(0, 100),
        "temperature": st.none() | st.floats(1e-6, 1e6),
    },
)


@given(valid)
def test_options_come_back_from_json(fields):
    options = Options(**fields)
    again = Options.from_dict(json.loads(json.dumps(options.to_dict())))
    assert again == options
    assert again.digest == options.digest
    assert hash(again) == hash(options)


def test_every_field_decides_the_digest():
    assert set(CHANGES) == {field.name for field in dataclasses.fields(Options)}
    made = [Options(), *(Options(**{name: value}) for name, value in CHANGES.items())]
    assert len({options.digest for options in made}) == len(made)


def test_what_is_the_same_has_one_form():
    assert Options(strength=1) == Options(strength=np.float32(1.0)) == Options()
    assert Options(["a", "b", "a"]).concepts == ("a", "b")
    assert Options(strictness=0.9) == Options(strictness=0.9, unknown=True)
    assert Options(shortlist=np.int64(3)).to_dict()["shortlist"] == 3


def test_options_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().refine = False
    segment = segmenter()
    for owner in (segment, pupils.student()):
        for name in ("options", "names", "digest", "identity", "bank", "crf"):
            if hasattr(owner, name):
                with pytest.raises(AttributeError):
                    setattr(owner, name, None)
    assert not {"refine", "unknown", "strength", "strictness", "system"} & set(dir(segment))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"concepts": "red"}, r"list of names; write \['red'\]"),
        ({"concepts": ["red", 3]}, "list of names, not of 3"),
        ({"refine": "yes"}, "refine must be True or False, not 'yes'"),
        ({"unknown": 1}, "unknown must be True or False, not 1"),
        ({"strictness": "0.9"}, "strictness must be a number, not '0.9'"),
        ({"strictness": 0.3}, r"strictness must lie between 0\.5 and 0\.99, not 0\.3"),
        ({"strictness": float("nan")}, "not nan"),
        ({"shortlist": 0}, "at least one concept, not 0"),
        ({"shortlist": 2.0}, "at least one concept, not 2.0"),
        ({"shortlist": True}, "at least one concept, not True"),
        ({"strength": None}, "strength must be a number, not None"),
        ({"strength": True}, "strength must be a number, not True"),
        ({"system": "stego"}, "choose 'reco' or 'denseclip'"),
        ({"system": "denseclip", "unknown": True}, "scores of system 'reco'"),
        ({"system": "denseclip", "shortlist": 1}, "scores of system 'reco'"),
    ],
)
def test_a_value_out_of_range_is_one_sentence(fields, words):
    with pytest.raises(InputError, match=words) as caught:
        Options(**fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fields", [{"strength": -1}, {"strength": 101}, {"temperature": 0}])
def test_the_crf_refuses_its_own_in_its_own_words(fields):
    with pytest.raises(RecipeError, match=next(iter(fields))):
        Options(**fields)


def test_a_field_that_is_none_is_refused_when_read():
    with pytest.raises(InputError, match="no option 'strenght'"):
        Options.from_dict({"strenght": 2})
    with pytest.raises(TypeError, match="strenght"):
        segmenter(strenght=2)


def test_settings_by_name_and_as_one_value_make_the_same_segmenter():
    options = Options(("red", "green"), refine=False, temperature=0.5)
    whole, named = segmenter(options=options), segmenter(**vars(options))
    assert whole.options == named.options == options
    assert whole.identity == named.identity
    changed = segmenter(options=options, refine=True)
    assert changed.options == options.replace(refine=True)
    np.testing.assert_array_equal(whole(photo()).confidence, named(photo()).confidence)


def test_what_is_left_open_is_resolved():
    plain = segmenter()
    assert plain.options.concepts == NAMES
    assert plain.options.temperature == plain.crf.temperature
    same = segmenter(concepts=NAMES, temperature=plain.crf.temperature, strength=1)
    assert same.digest == plain.digest


def test_replacing_some_options_leaves_the_others_and_the_models():
    thresholds = dict.fromkeys(NAMES, 0.1)
    first = segmenter(thresholds=thresholds, unknown=True, temperature=0.5)
    second = first.replace(refine=False)
    assert second.options == first.options.replace(refine=False)
    assert second._models is first._models
    made = pupils.student()
    assert made.replace(refine=True).options == made.options.replace(refine=True)


def test_segmenters_and_students_have_one_interface():
    for made in (segmenter(), pupils.student()):
        assert isinstance(made, ImageSegmenter)
        image = photo()
        np.testing.assert_array_equal(made.decide(image, made.maps(image)).labels,
                                      made(image).labels)  # fmt: skip
        maps = made.maps(image)
        again = maps.with_factors([2 * factor for factor in maps.factors])
        assert [float(f.sum()) for f in again.factors] == [2 * float(f.sum()) for f in maps.factors]
        assert json.loads(json.dumps(made.identity)) == made.identity
        assert made.identity["names"] == list(made.names)
        assert made.choose(made.names[:1]).names == made.names[:1]
        assert len(repr(made)) < 500
    assert not isinstance(lambda image: image, ImageSegmenter)


@pytest.mark.parametrize("name", sorted(set(CHANGES) - {"concepts", "refine"}))
def test_a_student_refuses_what_is_of_banks(name):
    with pytest.raises(InputError, match=f"{name} is of banks, not of students"):
        pupils.student().replace(**{name: CHANGES[name]})


def test_the_command_line_offers_every_option_once():
    doors = {field.name for field in dataclasses.fields(SegmentOptions)}
    offered = {field.name for field in dataclasses.fields(Options)}
    # The baseline is measured by `evaluate`, and is no way to segment photos.
    assert doors == offered - {"system"} | {"bank", "student", "device"}


def test_the_command_line_makes_the_options_that_were_given(tmp_path):
    asked = SegmentOptions(bank="b", concepts="red, green", strength=0.0, shortlist=0)
    assert asked.options() == Options(("red", "green"), strength=0)
    usual = Options(shortlist=USUAL_SHORTLIST, sure=USUAL_SURE)
    assert SegmentOptions().options() == SegmentOptions(bank="everyday").options() == usual
    assert SegmentOptions(shortlist=0, sure=0.0).options() == Options()
    assert SegmentOptions(student=tmp_path).options() == Options(refine=False)


@pytest.fixture
def photos(tmp_path):
    for name in ("a.png", "b.png"):
        paint(tmp_path / "photos" / name, "green", "red")
    return tmp_path / "photos"


def baselines():
    """The method and the baseline of one bank, of the same names and settings."""
    return segmenter(refine=False), segmenter(refine=False, system="denseclip")


def test_a_folder_of_results_of_another_system_is_not_kept(photos, tmp_path):
    found = []
    for segment in (*baselines(), baselines()[1]):
        run = batch.run(gather([photos]), segment, tmp_path / "o", segment.identity, progress=False)
        found.append([outcome.state for outcome in run])
    assert found == [["done", "done"], ["done", "done"], ["kept", "kept"]]


def test_a_student_is_not_taught_by_labels_of_another_system(photos, tmp_path):
    def seen(segment, out):
        label, calls = segment, []

        def count(path):
            calls.append(path)
            return label(path)

        jobs = gather([photos])
        make_pseudo_labels(jobs, count, segment.names, out, segment.identity, progress=False)
        return len(calls)

    reco, denseclip = baselines()
    assert [seen(s, tmp_path / "labels") for s in (reco, reco, denseclip)] == [2, 0, 2]


def test_a_film_of_another_system_is_refused(photos, tmp_path):
    reco, denseclip = baselines()
    segment_video(photos, reco, tmp_path / "o", progress=False)
    assert segment_video(photos, reco, tmp_path / "o", progress=False).kept == 2
    with pytest.raises(InputError, match="of other settings"):
        segment_video(photos, denseclip, tmp_path / "o", progress=False)


def test_the_options_of_a_student_decide_its_identity():
    made = pupils.student()
    assert isinstance(made, Student)
    others = [made.replace(refine=True), made.choose(["red", "blue"]), pupils.student(seed=1)]
    assert len({made.digest, *(other.digest for other in others)}) == 4


def test_a_segmenter_of_another_bank_has_another_identity():
    bank = bank_of()
    first, second = segmenter(), segmenter(thresholds=dict.fromkeys(NAMES, 0.2))
    assert first.digest == Segmenter(bank, models=first._models).digest
    assert first.digest != second.digest
