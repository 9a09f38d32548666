"""Processes that write the same thing at the same time: one at a time, and nothing is lost."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from recoseg.cli.app import app
from recoseg.concepts import bankfile
from recoseg.concepts.bank import ConceptBank
from recoseg.errors import Locked
from recoseg.index.index import Index
from recoseg.learning import adaptation
from recoseg.runs import batch, inputs, manifest
from recoseg.student.student import Student
from recoseg.web.banks import BankLibrary
from recoseg.web.indexes import IndexInfo, IndexLibrary
from tests import pupils
from tests.test_batch import Segmenter
from tests.test_cli import bank, index, made, workplace  # noqa: F401 (fixtures)
from tests.test_index_damage import Encoder
from tests.toys import paint

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
RACERS = 6


def race(work: Callable[[int], None], count: int = RACERS) -> list[str]:
    """Run ``work(0)``, ``work(1)`` ... in processes that begin at once; how each ended."""
    begin, go = os.pipe()
    children = []
    for number in range(count):
        process = os.fork()
        if not process:
            status = 1
            try:
                torch.set_num_threads(1)
                os.close(go)
                os.read(begin, 1)
                work(number)
                status = 0
            except Locked:
                status = 7
            finally:
                os._exit(status)
        children.append(process)
    os.close(go)
    os.close(begin)
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return [{0: "done", 7: "refused"}.get(end, f"failed {end}") for end in ends]


def test_concepts_that_are_added_at_once_are_all_there(index, bank):  # noqa: F811
    def add(number: int) -> None:
        words = ("blue", "green", "white", "black", "purple", "brown")[number]
        result = CliRunner().invoke(app, ["concept", "add", bank, words, "-i", index, "-q"])
        os._exit(result.exit_code)

    assert race(add) == ["done"] * RACERS
    assert len(ConceptBank.open(Path(bank)).names) == 2 + RACERS
    assert not [path for path in Path().iterdir() if path.name.startswith(".")]


def test_all_that_changes_a_bank_waits_for_the_others(index, bank):  # noqa: F811
    orders = (
        ["add", bank, "blue", "-i", index, "-q"],
        ["rebuild", bank, "red", "-i", index, "-q"],
        ["calibrate", bank, "-i", index, "-q"],
        ["drop", bank, "yellow"],
        ["add", bank, "green", "-i", index, "-q"],
    )

    def work(number: int) -> None:
        os._exit(CliRunner().invoke(app, ["concept", *orders[number]]).exit_code)

    assert race(work, len(orders)) == ["done"] * len(orders)
    assert set(ConceptBank.open(Path(bank)).names) == {"red", "blue", "green"}


def test_no_wait_refuses_and_waiting_says_one_sentence(index, bank):  # noqa: F811
    add = ["concept", "add", bank, "blue", "-i", index, "-q"]
    with bankfile.exclusive(Path(bank)):
        refused = CliRunner().invoke(app, [*add, "--no-wait"])
        assert refused.exit_code == 3
        assert "is at work on two.bank; wait for it to finish or stop it" in refused.stderr
        results = []
        waiter = threading.Thread(target=lambda: results.append(CliRunner().invoke(app, add)))
        waiter.start()
        time.sleep(0.5)
    waiter.join(60)
    assert results[0].exit_code == 0
    assert results[0].stderr.count("is at work on two.bank; waiting for it to finish.") == 1
    assert "blue" in ConceptBank.open(Path(bank)).names


def test_of_two_that_build_one_bank_the_second_writes_nothing_over(index):  # noqa: F811
    def build(number: int) -> None:
        word = ("red", "yellow")[number]
        result = CliRunner().invoke(app, ["concept", "build", "new.bank", word, "-i", index, "-q"])
        os._exit({0: 0, 3: 7}[result.exit_code])

    assert sorted(race(build, 2)) == ["done", "refused"]
    assert len(ConceptBank.open(Path("new.bank")).names) == 1


def test_the_page_and_the_command_line_save_into_one_bank(index, bank):  # noqa: F811
    source = ConceptBank.open(Path(bank))
    shelf = BankLibrary((Path(bank),), Path("state"))

    def work(number: int) -> None:
        if number % 2:
            name = ("blue", "green", "white")[number // 2]
            result = CliRunner().invoke(app, ["concept", "add", bank, name, "-i", index, "-q"])
            os._exit(result.exit_code)
        new = dataclasses.replace(source.concepts[0], name=f"new {number}")
        shelf.change("two", lambda old: dataclasses.replace(old, concepts=(*old.concepts, new)))

    assert race(work) == ["done"] * RACERS
    assert len(ConceptBank.open(Path(bank)).names) == 2 + RACERS


def test_servers_of_one_state_keep_each_other_s_notes(tmp_path):
    def work(number: int) -> None:
        notes = IndexLibrary((), tmp_path, None)
        for turn in range(5):
            notes.prepare(IndexInfo("n", "r", "f", f"/photos/{number} {turn}"))

    assert race(work) == ["done"] * RACERS
    notes = IndexLibrary((), tmp_path, None)
    assert len(notes.ids()) == 5 * RACERS
    assert all(notes.about(id).name == "n" for id in notes.ids())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(12):
        paint(tmp_path / "shots" / f"{i}.png", "red", "blue", size=24 + 2 * i)
    return tmp_path / "shots"


def test_one_of_many_indexers_works(photos, tmp_path):
    class Slow(Encoder):
        def embed_images(self, batch):
            time.sleep(0.05)
            return super().embed_images(batch)

    def work(_: int) -> None:
        Index.build(photos, tmp_path / "x.index", model=Slow(), workers=1, progress=False)

    assert sorted(race(work)) == ["done"] + ["refused"] * (RACERS - 1)
    assert len(Index.open(tmp_path / "x.index")) == 12


def test_one_of_many_segmenters_works(photos, tmp_path):
    class Slow(Segmenter):
        def __call__(self, image):
            time.sleep(0.05)
            return super().__call__(image)

    def work(_: int) -> None:
        list(batch.run(inputs.gather([photos]), Slow(), tmp_path / "out", {"names": []}, False))

    assert sorted(race(work)) == ["done"] + ["refused"] * (RACERS - 1)
    assert len(manifest.list_finished(tmp_path / "out")) == 12


def test_one_of_many_students_is_trained(tmp_path):
    scenes, teacher = pupils.paint_scenes(tmp_path / "scenes"), pupils.student()

    def work(_: int) -> None:
        adaptation.adapt(
            teacher, scenes, tmp_path / "out", preset=pupils.PLAN, device="cpu", progress=False
        )

    assert sorted(race(work, 3)) == ["done", "refused", "refused"]
    assert Student.open(tmp_path / "out" / "student.safetensors").names == pupils.NAMES
