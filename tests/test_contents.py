from __future__ import annotations

import pytest

from recoseg.io.filetypes import count_suffixes, describe_counts, remedy, unread_note


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "no file at all"),
        (["a.pdf"], "1 PDF file"),
        (["a.PDF"] * 12 + ["b.txt", "c.txt", "d.md"], "12 PDF files, 2 .txt files and 1 other"),
        (["a.pdf", "b.heic"], "1 PDF file and 1 HEIC photo"),
        (["a.cr2", "b.NEF", "c.HEIF"], "2 raw photos and 1 HEIC photo"),
        (["README", "LICENSE"], "2 files without suffix"),
        ([f"a.{i}" for i in range(1500)], "1 .0 file, 1 .1 file and 1,498 others"),
        (["a.pdf"] * 1500, "1,500 PDF files"),
        (["x.b\udcffd"], r"1 .b\xffd file"),
    ],
)
def test_what_is_there_is_said_in_words(names, words):
    assert describe_counts(count_suffixes(names)) == words


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a.pdf", "b.pdf", "c.heic"], "export the pages"),
        (["a.heic", "b.txt", "c.txt"], "convert them to JPEG"),
        (["a.dng"], "convert them to JPEG"),
        (["a.avif"], "convert them to JPEG"),
        (["a.MOV"], "`recoseg video`"),
        (["a.zip"], "unpack"),
    ],
)
def test_the_remedy_fits_the_commonest_kind_that_has_one(names, words):
    assert words in (remedy(count_suffixes(names)) or "")


def test_there_is_no_remedy_for_what_is_not_known():
    assert remedy(count_suffixes(["a.txt", "b"])) is None


def test_only_photos_are_worth_a_note_beside_others():
    assert unread_note(count_suffixes(["a.txt", "b.pdf", "c.zip"])) is None
    assert unread_note(count_suffixes(["a.txt", "b.CR2", "c.heic", "d.heic"])) == (
        "2 HEIC photos and 1 raw photo cannot be read; convert them to JPEG first"
    )
