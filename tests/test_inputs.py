from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recoseg.errors import ArchiveError, ImageError, InputError
from recoseg.runs.inputs import _stems, gather
from tests.toys import paint


@pytest.fixture
def photos(tmp_path):
    for name in ("b.jpg", "a.png", "deep/c.JPG", ".hidden.jpg"):
        paint(tmp_path / "photos" / name, "red")
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    return tmp_path / "photos"


def ids(jobs):
    return [job.id for job in jobs]


def test_a_folder_is_searched_through_and_sorted(photos):
    assert ids(gather([photos])) == ["a.png", "b.jpg", "deep/c.JPG"]


def test_results_are_named_below_the_folder_without_suffix(photos):
    assert [job.stem for job in gather([photos])] == ["a", "b", "deep/c"]


def test_images_that_differ_only_in_suffix_keep_it(photos):
    paint(photos / "a.jpg", "red")
    assert [job.stem for job in gather([photos])] == ["a.jpg", "a.png", "b", "deep/c"]


NAMES = st.sets(st.lists(st.sampled_from(["a", ".jpg", ".png"]), max_size=3).map(tuple))


@given(NAMES)
@example({(".png",), (".jpg",), (".png", ".jpg")})
def test_no_two_images_share_the_name_of_their_results(parts):
    names = sorted({"a" + "".join(part) for part in parts})
    stems = _stems(names)
    assert list(stems) == names
    assert len(set(stems.values())) == len(names)


def test_a_pattern_is_relative_to_its_fixed_part(photos):
    assert ids(gather([photos / "**/*.JPG"])) == ["deep/c.JPG"]
    assert ids(gather([str(photos / "*.p*g")])) == ["a.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(photos):
    assert ids(gather([paint(photos / "x[1].jpg", "red")])) == ["x[1].jpg"]


def test_the_same_image_is_done_once(photos):
    assert ids(gather([photos, photos / "a.png", photos / "*.png"])) == [
        "a.png",
        "b.jpg",
        "deep/c.JPG",
    ]


def test_earlier_results_inside_the_folder_are_left_out(photos):
    paint(photos / "out" / "labels" / "a.png", "red")
    assert "out/labels/a.png" not in ids(gather([photos], leave_out=photos / "out"))


def test_results_of_any_earlier_run_below_the_folder_are_left_out(photos):
    before = ids(gather([photos]))
    for name in ("seen/labels/a.png", "deep/seen/overlays/a.jpg"):
        paint(photos / name, "red")
    (photos / "seen/manifest.json").write_text('{"format": "recoseg-segmentation/1"}')
    (photos / "deep/seen/manifest.json").write_text('{"format": "recoseg-segmentation/1"}')
    assert ids(gather([photos])) == before
    assert ids(gather([photos / "seen"])) == ["labels/a.png"]
    (photos / "seen/manifest.json").write_text('{"format": "another"}')
    assert "seen/labels/a.png" in ids(gather([photos]))


def test_two_images_of_one_name_from_two_folders_are_refused(tmp_path):
    paths = [paint(tmp_path / folder / "a.jpg", "red") for folder in ("one", "two")]
    with pytest.raises(InputError, match="under one name; give the folder above"):
        gather(paths)


def test_what_does_not_exist_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"nowhere\.jpg does not exist"):
        gather([tmp_path / "nowhere.jpg"])


def test_images_that_all_lie_where_results_go_are_refused(photos):
    for inputs in ([photos], [photos / "a.png"], [photos / "*.jpg"]):
        with pytest.raises(InputError, match="all images lie in"):
            gather(inputs, leave_out=photos)


def test_what_a_folder_without_images_does_hold_is_said(tmp_path):
    for name in ("a.pdf", "deep/b.PDF", "c.txt", ".hidden.heic"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ArchiveError) as told:
        gather([tmp_path])
    assert str(told.value) == (
        f"{tmp_path} holds no image (2 PDF files and 1 .txt file); export the pages as images "
        "first."
    )


def test_files_that_are_passed_over_are_counted(photos):
    for name in ("a.heic", "deep/b.HEIC", "c.txt"):
        (photos / name).touch()
    others = Counter()
    assert len(gather([photos], others=others)) == len(gather([photos]))
    assert others[".heic"] == 2


@pytest.mark.parametrize("where", ["photos", "photos/*.jpg"])
def test_a_folder_or_pattern_without_images_is_an_error(tmp_path, where):
    (tmp_path / "photos").mkdir()
    with pytest.raises(ArchiveError, match="holds no image"):
        gather([tmp_path / where])


def test_names_that_leave_no_room_for_a_suffix_are_shortened_and_stay_apart(tmp_path):
    names = [f"{'x' * 246}{end}" for end in ("1.jpg", "2.jpg", "1.png")] + [f"{'é' * 122}.jpg"]
    for name in names:
        paint(tmp_path / "photos" / name, "red")
    found = gather([tmp_path / "photos"])
    assert len({job.stem for job in found}) == 4
    assert sorted(job.id for job in found) == sorted(names)
    assert all(len(f"{job.stem}.json".encode()) <= 255 for job in found)
    assert [job.stem for job in found] == [job.stem for job in gather([tmp_path / "photos"])]
