"""One reporter for all long work: callbacks, sparse lines, a bar, or nothing."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoseg.io import progress
from recoseg.io.progress import reporting, summary, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_items_pass_through_and_a_callback_counts_them():
    calls: list[tuple[int, int]] = []
    seen = []
    for item in track("abc", label="x", progress=lambda *call: calls.append(call)):
        seen.append(item)
        assert calls[-1] == (len(seen) - 1, 3), "an item counts when it is worked off"
    assert seen == ["a", "b", "c"]
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_an_iterator_of_a_known_length():
    calls: list[tuple[int, int]] = []
    list(track(iter("ab"), 2, "x", lambda *call: calls.append(call)))
    assert calls[-1] == (2, 2)


def test_advance_by_several():
    calls: list[tuple[int, int]] = []
    with reporting("x", 10, lambda *call: calls.append(call)) as advance:
        advance(4)
        advance(6)
    assert calls == [(0, 10), (4, 10), (10, 10)]


def test_a_callback_may_stop_the_work():
    def stop(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(track(range(9), label="x", progress=stop))


def test_silence(capsys):
    list(track(range(9), label="x", progress=False))
    assert capsys.readouterr() == ("", "")


def test_short_work_outside_a_terminal_is_silent(capsys):
    list(track(range(9), label="x"))
    assert capsys.readouterr() == ("", "")


def test_lines_are_sparse_and_tell_rate_and_time_left():
    now = [0.0]
    stream = io.StringIO()
    lines = progress._Lines("indexing", stream, lambda: now[0])
    for done in range(101):
        now[0] = done * 0.5
        lines.show(done, 100)
    lines.close()
    written = stream.getvalue().splitlines()
    assert written[0] == "indexing: 20 of 100 (20 %), 2/s, 40 s left"
    assert written[-1] == "indexing: 100 of 100 (100 %), 2/s, took 50 s"
    assert len(written) == 5


def test_nothing_is_written_twice():
    now = [0.0]
    stream = io.StringIO()
    lines = progress._Lines("x", stream, lambda: now[0])
    now[0] = 60
    lines.show(1, 1)
    lines.close()
    assert stream.getvalue() == "x: 1 of 1 (100 %), 0.017/s, took 1 min 0 s\n"


@pytest.mark.parametrize(
    ("given_", "text"),
    [
        ((0, 10, 5), "0 of 10 (0 %)"),
        ((1200, 12700, 29.3), "1,200 of 12,700 (9 %), 41/s, 4 min 41 s left"),
        ((5, 0, 2), "5, 2.5/s, took 2 s"),
        ((0, 0, 0), "0"),
        ((1, 100_001, 1), "1 of 100,001 (0 %), 1/s, 27 h 46 min left"),
    ],
)
def test_summary(given_, text):
    assert summary(*given_) == text


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.floats(0, 1e9))
def test_summary_is_one_line_for_any_numbers(done, total, seconds):
    assert "\n" not in summary(done, total, seconds)


def test_a_bar_in_a_terminal_on_stderr_only(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    for _ in track(range(5), label="painting"):
        for _ in track(range(2), label="inner"):
            pass
    assert "painting" in terminal.getvalue()
    assert "5/5" in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_a_bar_is_taken_down_when_the_work_fails(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    def fail() -> None:
        for item in track(range(5), label="painting"):
            if item == 3:
                raise ValueError("work")

    with pytest.raises(ValueError, match="work"):
        fail()
    assert terminal.getvalue().endswith("\n") or "\x1b[?25h" in terminal.getvalue()


@pytest.mark.parametrize(
    ("done", "total", "seconds", "left"),
    [
        (0, 10, 5.0, None),
        (5, 10, 5.0, 5.0),
        (9, 10, 18.0, 2.0),
        (10, 10, 3.0, 0.0),
        (3, 9, 0, None),
    ],
)
def test_what_remains_is_told_at_the_pace_so_far(done, total, seconds, left):
    assert progress.remaining(done, total, seconds) == left
