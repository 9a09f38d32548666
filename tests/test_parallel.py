"""Threads of one core each, and work that looks ahead only so far."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from recoseg.io.parallel import parallel_map, prefetch_map, threads


@pytest.fixture(autouse=True)
def _three_torch_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def of_a_new_thread() -> int:
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


def test_every_thread_has_one_core_and_nobody_else():
    with threads(4) as pool:
        gate = threading.Barrier(4)

        def look(_number: int) -> tuple[int, int]:
            gate.wait(10)
            return threading.get_ident(), torch.get_num_threads()

        seen = list(pool.map(look, range(4)))
        assert len({ident for ident, _ in seen}) == 4
        assert {count for _, count in seen} == {1}
        assert torch.get_num_threads() == 3
        assert of_a_new_thread() == 3
    assert torch.get_num_threads() == 3
    assert of_a_new_thread() == 3


def test_results_come_in_order():
    def slow(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number

    with threads(3) as pool:
        assert list(prefetch_map(pool, slow, range(50), 5)) == list(range(50))
        assert list(prefetch_map(pool, slow, [], 5)) == []


def test_no_more_than_the_depth_is_under_way():
    drawn = 0

    def items():
        nonlocal drawn
        for number in range(100):
            drawn += 1
            yield number

    with threads(2) as pool:
        for used, _ in enumerate(prefetch_map(pool, lambda number: number, items(), 4)):
            assert drawn <= used + 4


def test_an_error_in_a_thread_reaches_the_caller_and_ends_the_work():
    begun = []

    def fail(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"), threads(1) as pool:
        list(prefetch_map(pool, fail, range(1000), 10))
    assert len(begun) < 20


@pytest.mark.parametrize("cores", [1, 3])
@pytest.mark.parametrize("count", [1, 2])
def test_over_gives_the_same_with_and_without_threads(cores, count):
    torch.set_num_threads(cores)
    assert list(parallel_map(lambda number: number**2, range(20), count)) == [
        n**2 for n in range(20)
    ]
    assert torch.get_num_threads() == cores


def test_over_works_on_one_core_without_threads():
    torch.set_num_threads(1)
    assert set(parallel_map(lambda _: threading.get_ident(), range(3), 1)) == {
        threading.get_ident()
    }
    torch.set_num_threads(2)
    assert threading.get_ident() not in set(
        parallel_map(lambda _: threading.get_ident(), range(3), 1)
    )
