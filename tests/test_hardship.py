"""What a file system may do while work goes on: links and folders that go away."""

from __future__ import annotations

import os

import pytest

from recoseg.errors import ArchiveError
from recoseg.index.index import Index
from tests import storms
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
