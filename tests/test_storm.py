"""A short storm over all verbs; ``make storm`` has the long one."""

from __future__ import annotations

import os

import pytest

from tests.storms import VERBS, Storm

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and POSIX signals")
FINE = {"kills", "finished", "damages", "told", "healed", "refused"}


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_kills_and_damage(verb, tmp_path, monkeypatch):
    from recoseg.index import blocks, journal, update
    from recoseg.runs import record
    from recoseg.video import clip_record

    # What the storm makes small is as it was afterwards.
    for module, name in (
        (journal, "FLUSH_ROWS"),
        (update, "SHARD_ROWS"),
        (blocks, "BLOCK_BYTES"),
        (record, "SAVE_EVERY"),
        (clip_record, "SAVE_EVERY"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    storm = Storm(verb, tmp_path / "storm", seed=1)
    storm.kill(3)
    counts = storm.damage(6)
    assert storm.notes == []
    assert set(counts) <= FINE
    assert counts["kills"] >= 3
    assert counts["healed"] + counts["refused"] == 6
