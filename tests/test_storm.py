"""A short storm over all verbs; ``make storm`` has the long one."""

from __future__ import annotations

import os

import pytest

from tests.storms import SMALL, VERBS, Storm

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and POSIX signals")
FINE = {"kills", "finished", "damages", "told", "healed", "refused"}


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_kills_and_damage(verb, tmp_path, monkeypatch):
    # What the storm makes small is as it was afterwards.
    for module, name in SMALL:
        monkeypatch.setattr(module, name, getattr(module, name))
    storm = Storm(verb, tmp_path / "storm", seed=1)
    storm.kill(3)
    counts = storm.damage(6)
    assert storm.notes == []
    assert set(counts) <= FINE
    assert counts["kills"] >= 3
    assert counts["healed"] + counts["refused"] == 6
