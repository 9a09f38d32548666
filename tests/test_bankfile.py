"""One file per bank: exact round trips, and a clear refusal of everything else."""

from __future__ import annotations

import dataclasses
import json

import pytest
import safetensors.torch
import torch

from recoseg.concepts.bank import ConceptBank
from recoseg.concepts.bankfile import SEAL
from recoseg.concepts.concept import STRICTNESSES
from recoseg.errors import BankError, InputError, RecosegError
from recoseg.io import sealed
from tests.test_concepts import Memory, archive, assert_same, build, models, picture

__all__ = ["models"]
LEVELS = tuple(0.1 + 0.2 * share for share in STRICTNESSES)


@pytest.fixture(scope="module")
def bank(models):
    index = Memory(archive(), models.retrieval)
    index.pictures["red1.png"] = None
    made = build(
        {"rot": ["red", "black"], "blue": ["blue"], "größe, 大": ["white"]},
        index, models, exclude={"blue": ["blue2.png"]}, examples={"mine": [picture("red")]},
    )  # fmt: skip
    made = made.put(dataclasses.replace(made["mine"], thresholds=LEVELS))
    return made.with_thresholds({"rot": 0.1 + 0.2, "mine": -1e-9})


def test_float32_is_exact(bank, tmp_path):
    again = ConceptBank.open(bank.save(tmp_path / "a.bank", dtype="float32"))
    assert_same(bank, again)
    for name in bank:
        assert again[name].evidence == bank[name].evidence
        assert again[name].evidence.pictures is None
    assert [c.name for c in again.contexts] == ["green", "blue"]
    assert again.contexts[1] is again["blue"]


def test_levels_come_back_and_may_be_absent(bank, tmp_path):
    again = ConceptBank.open(bank.save(tmp_path / "a.bank"))
    assert again["mine"].thresholds == LEVELS
    assert again["rot"].thresholds is None
    rows = [{"name": f"n{i}", "aliases": ["x"], "threshold": 0.5} for i in range(5)]
    older = ConceptBank.open(forge(bank, tmp_path / "x.bank", concepts=rows))
    assert [c.thresholds for c in older.concepts] == [None] * 4
    assert older["n0"].threshold == 0.5


@pytest.mark.parametrize("levels", [[0.1], [0.2] * 8 + [0.1], [float("nan")] * 9, "abcdefghi", 7])
def test_levels_that_are_none_are_refused(bank, tmp_path, levels):
    rows = [
        {"name": f"n{i}", "aliases": ["x"], "threshold": 0.5, "levels": levels} for i in range(5)
    ]
    with pytest.raises(BankError, match="does not describe a bank"):
        ConceptBank.open(forge(bank, tmp_path / "x.bank", concepts=rows))


def test_float16_is_close_and_unit(bank, tmp_path):
    again = ConceptBank.open(bank.save(tmp_path / "a.bank"))
    assert_same(bank, again, tolerance=1e-3)
    for vectors, exact in ((again.texts, bank.texts), (again.references, bank.references)):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))
        assert (1 - (vectors * exact).sum(1)).abs().max() < 1e-6
    assert_same(again, ConceptBank.open(again.save(tmp_path / "b.bank")), tolerance=1e-3)


def test_full_evidence_keeps_the_pictures(bank, tmp_path):
    again = ConceptBank.open(bank.save(tmp_path / "a.bank", evidence="full"))
    for name in bank:
        kept, first = again[name].evidence.pictures, bank[name].evidence.pictures
        assert kept.thumbnails == first.thumbnails
        assert (kept.heat == first.heat).all()
        assert (again[name].evidence.draw() == bank[name].evidence.draw()).all()
    smaller = again.save(tmp_path / "b.bank", evidence="compact")
    assert smaller.stat().st_size < (tmp_path / "a.bank").stat().st_size / 2


def test_no_evidence_keeps_the_vectors(bank, tmp_path):
    again = ConceptBank.open(bank.save(tmp_path / "a.bank", dtype="float32", evidence="none"))
    assert_same(bank, again)
    assert all(concept.evidence is None for concept in again.values())
    assert_same(again, ConceptBank.open(again.save(tmp_path / "b.bank", dtype="float32")))


def test_the_same_bank_gives_the_same_bytes(bank, tmp_path):
    for level in ("full", "compact"):
        first = bank.save(tmp_path / "a.bank", evidence=level).read_bytes()
        assert first == bank.save(tmp_path / "b.bank", evidence=level).read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bank", "b.bank"]


def test_an_opened_bank_can_grow_and_be_rebuilt(bank, models, tmp_path):
    index = Memory(archive(), models.retrieval)
    again = ConceptBank.open(bank.save(tmp_path / "a.bank", dtype="float32"))
    grown = again.add(["yellow"], index, models=models, progress=False)
    truth = bank.add(["yellow"], index, models=models, progress=False)
    assert_same(grown, truth)
    rebuilt = again.rebuild("blue", index, models=models, progress=False)
    assert_same(rebuilt, bank.rebuild("blue", index, models=models, progress=False))
    assert rebuilt["blue"].evidence.pictures is not None


def test_any_damage_is_noticed(bank, tmp_path):
    data = bank.save(tmp_path / "a.bank", evidence="full").read_bytes()
    path = tmp_path / "b.bank"
    places = sorted({0, 7, 8, 40, *range(0, len(data), max(1, len(data) // 60)), len(data) - 1})
    for place in places:
        broken = bytearray(data)
        broken[place] ^= 0x10
        path.write_bytes(broken)
        with pytest.raises(BankError):
            ConceptBank.open(path)
        path.write_bytes(data[:place])
        with pytest.raises(BankError):
            ConceptBank.open(path)


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"\xff" * 100, b"no bank", b"\2\0\0\0\0\0\0\0{}"]
)
def test_foreign_bytes_are_refused(tmp_path, data):
    (tmp_path / "x.bank").write_bytes(data)
    with pytest.raises(BankError, match="not a concept bank"):
        ConceptBank.open(tmp_path / "x.bank")


def test_foreign_safetensors_are_refused(tmp_path):
    safetensors.torch.save_file({"text": torch.ones(2, 2)}, tmp_path / "x.bank")
    with pytest.raises(BankError, match="not a concept bank"):
        ConceptBank.open(tmp_path / "x.bank")


def forge(bank, path, **changes):
    data = bank.save(path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][SEAL.key])
    tensors = safetensors.torch.load(data)
    header = {**header, **changes}
    if "digest" not in changes:
        header.pop("digest")
        header["digest"] = sealed._digest(header, tensors)
    path.write_bytes(safetensors.torch.save(tensors, {SEAL.key: json.dumps(header)}))
    return path


def test_forging_nothing_is_no_damage(bank, tmp_path):
    assert ConceptBank.open(forge(bank, tmp_path / "x.bank")).names == bank.names


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": {"name": "x"}},
        {"recipe": 7},
        {"recipe": {}},
        {"concepts": []},
        {"concepts": [{"name": 7, "aliases": [], "threshold": None}] * 5},
        {"named": "x"},
        {"contexts": [99]},
        {"digest": "0"},
        {"models": 7},
    ],
)
def test_a_forged_header_is_refused(bank, tmp_path, changes):
    with pytest.raises(BankError, match=r"does not describe a bank|is damaged"):
        ConceptBank.open(forge(bank, tmp_path / "x.bank", **changes))


def test_a_newer_format_is_refused(bank, tmp_path):
    with pytest.raises(BankError, match="upgrade"):
        ConceptBank.open(forge(bank, tmp_path / "x.bank", format=2))


def test_missing_files_and_folders(bank, tmp_path):
    with pytest.raises(BankError, match="cannot be read"):
        ConceptBank.open(tmp_path / "none.bank")
    with pytest.raises(BankError, match="is a folder"):
        ConceptBank.open(tmp_path)
    with pytest.raises(BankError, match="make it first"):
        bank.save(tmp_path / "no" / "a.bank")


def test_bad_options_and_empty_banks_are_refused(bank, tmp_path):
    for options in ({"dtype": "int8"}, {"evidence": "all"}):
        with pytest.raises(InputError):
            bank.save(tmp_path / "a.bank", **options)
    with pytest.raises(BankError, match="empty"):
        bank.drop(list(bank)).save(tmp_path / "a.bank")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file(bank, tmp_path, monkeypatch):
    path = bank.save(tmp_path / "a.bank")
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(RecosegError, match="disk full"):
        bank.drop("rot").save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.bank"]


def test_evidence_draws_a_sheet(bank, tmp_path):
    path = bank["rot"].evidence.save(tmp_path / "rot.png")
    assert path.stat().st_size > 1000
    again = ConceptBank.open(bank.save(tmp_path / "a.bank"))
    with pytest.raises(BankError, match=r"bank\.rebuild\('rot', index\)"):
        again["rot"].evidence.save(path)


def test_the_everyday_bank_is_opened_by_name(bank, tmp_path, monkeypatch):
    monkeypatch.setattr("recoseg.concepts.bank.EVERYDAY", bank.save(tmp_path / "a.bank"))
    assert ConceptBank.everyday().names == bank.names
