"""A real Ray cluster of several nodes on this machine, whose parts are killed while it works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray.cluster_utils import Cluster
from typer.testing import CliRunner

import recoseg
from recoseg.cli.app import app
from recoseg.cluster.engine import RayCluster
from recoseg.concepts.bank import EVERYDAY
from recoseg.errors import InputError, RecosegError
from recoseg.index import parts, update
from recoseg.index.index import Index
from recoseg.learning.pseudolabels import make_pseudo_labels
from recoseg.runs import batch, make
from recoseg.runs.inputs import gather
from tests import crews
from tests.crews import CHUNK, ROWS, Marking
from tests.pupils import NAMES, PLAN, colour_segmenter
from tests.test_make import files_of, scenes_in, segment
from tests.test_spread import bytes_of, photos_in

T = TypeVar("T")
ROOT = Path(__file__).parents[1]
IMAGES = 120
STORE = 100 * 2**20


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """A head with one processor; tests add and remove nodes, the first ones need no other."""
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False},
    )
    ray.init(made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def cluster(nodes: Cluster) -> Iterator[RayCluster]:
    with RayCluster.connect() as connected:
        yield connected


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos_in(tmp_path_factory.mktemp("archive") / "photos", IMAGES)


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(update, "CHUNK", CHUNK)
    monkeypatch.setattr(update, "SHARD_ROWS", ROWS)


@pytest.fixture
def plain(photos: Path, tmp_path: Path) -> dict[str, bytes]:
    return bytes_of(build(photos, tmp_path / "plain", tmp_path))


def build(photos: Path, out: Path, marks: Path, cluster=None, delay: float = 0.0) -> Index:
    model = Marking(marks, delay)
    return Index.build(photos, out, model=model, batch_size=2, progress=False, cluster=cluster)


def add_node(nodes: Cluster, cpus: int) -> Any:
    return nodes.add_node(num_cpus=cpus, object_store_memory=STORE)


def wait_for_gpus(number: int) -> None:
    end = time.monotonic() + 60
    while ray.cluster_resources().get("GPU", 0) != number:
        assert time.monotonic() < end
        time.sleep(0.1)


def beside(
    work: Callable[[], Index], marks: Path, batches: int, act: Callable[[], object]
) -> Index:
    """What ``work`` returns; once so many batches are encoded, ``act`` is called beside it."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        wait_for(marks, batches)
        act()  # Ray starts nodes from the main thread alone
        assert not running.done(), "it was over before"
        return running.result()


def wait_for(marks: Path, batches: int) -> None:
    end = time.monotonic() + 300
    while sum(crews.noted(marks)) < batches:
        assert time.monotonic() < end, "the cluster does not work"
        time.sleep(0.01)


def noted(path: Path) -> list[str]:
    return path.read_text().split()


def workers(marks: Path) -> dict[int, str]:
    """Process to node of all that encoded."""
    found = (path.name.split("-") for path in marks.iterdir() if "batch" in noted(path))
    return {int(process): node for process, node in found if int(process) != os.getpid()}


def test_a_killed_driver_costs_what_was_in_flight(nodes, cluster, photos, plain, tmp_path, marks):
    out = tmp_path / "made"
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.crews", photos, out, marks, nodes.address], cwd=ROOT
    )
    wait_for(marks, 30)
    driver.kill()
    assert driver.wait() == -signal.SIGKILL
    left = len(list((out / parts.FOLDER).glob("*.json"))) if out.exists() else 0
    committed = len(Index.open(out))
    assert left + committed
    again = tmp_path / "again"
    again.mkdir()
    made = build(photos, out, again, cluster)
    assert bytes_of(made) == plain
    # What was whole: parts, and what was committed of them.
    whole = left + committed // CHUNK
    batches = sum(crews.noted(again))
    assert batches <= crews.batches(photos) - 3 * whole + 6


def test_the_command_line_indexes_on_a_cluster(nodes, cluster, tmp_path):
    photos, out, plain = photos_in(tmp_path / "few", 15), tmp_path / "made", tmp_path / "plain"
    for words in (["index", photos, plain, "-q"], ["index", photos, out, "--ray", nodes.address]):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
    assert f"{out}\t18\t2\n" == result.stdout
    assert bytes_of(Index.open(out)) == bytes_of(Index.open(plain))
    banks = [tmp_path / "one.bank", tmp_path / "many.bank"]
    for bank, more in zip(banks, ([], ["--ray", nodes.address]), strict=True):
        words = ["concept", "build", bank, "red", "blue", "-i", out, "-k", 3, "-q", *more]
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
    assert banks[0].read_bytes() == banks[1].read_bytes()


def test_a_student_is_taught_by_labels_of_a_cluster(cluster, tmp_path):
    photos = scenes_in(tmp_path / "photos")
    bank = recoseg.ConceptBank.open(EVERYDAY).subset(["sky", "road", "tree"])
    teacher = recoseg.Segmenter(bank, refine=False)
    for name, engine in (("plain", None), ("made", cluster)):
        recoseg.adapt(
            *(teacher, photos, tmp_path / name),
            preset=PLAN,
            progress=False,
            device="cpu",
            cluster=engine,
        )
    labels = [files_of(tmp_path / name / "round-1" / "labels") for name in ("plain", "made")]
    assert labels[0] == labels[1]
    students = [
        (tmp_path / name / "student.safetensors").read_bytes() for name in ("plain", "made")
    ]
    assert students[0] == students[1]


def test_one_two_and_four_workers_make_the_same_bytes(
    nodes, cluster, photos, plain, tmp_path, marks
):
    for number, more in ((1, 0), (2, 1), (4, 2)):
        if more:
            add_node(nodes, more)
        out, here = tmp_path / f"by {number}", marks / str(number)
        here.mkdir()
        assert bytes_of(build(photos, out, here, cluster, 0.02)) == plain
        assert len(set(workers(here).values())) == min(number, 3)
        assert all(noted(path).count("loaded") <= 1 for path in here.iterdir()), "loaded again"


def test_a_killed_worker_costs_its_block(cluster, photos, plain, tmp_path, marks):
    def kill() -> None:
        os.kill(next(iter(workers(marks))), signal.SIGKILL)

    def work() -> Index:
        return build(photos, tmp_path / "made", marks, cluster, 0.02)

    made = beside(work, marks, 20, kill)
    assert bytes_of(made) == plain
    batches = sum(crews.noted(marks))
    assert batches <= crews.batches(photos) + 3, (
        "more than the killed worker's block was done again"
    )


def test_a_lost_node_costs_its_blocks(nodes, cluster, photos, plain, tmp_path, marks):
    lost = add_node(nodes, 1)
    crews.warm(cluster, lost.node_id)

    def kill() -> None:
        assert lost.node_id in workers(marks).values()
        nodes.remove_node(lost, allow_graceful=False)

    def work() -> Index:
        return build(photos, tmp_path / "made", marks, cluster, 0.03)

    made = beside(work, marks, 35, kill)
    assert bytes_of(made) == plain


def test_a_node_that_joins_is_put_to_work(nodes, cluster, photos, plain, tmp_path, marks):
    before = {node["NodeID"] for node in ray.nodes() if node["Alive"]}

    def work() -> Index:
        return build(photos, tmp_path / "made", marks, cluster, 0.2)

    made = beside(work, marks, 5, lambda: add_node(nodes, 2))
    assert bytes_of(made) == plain
    assert set(workers(marks).values()) - before, "the new node did nothing"


def test_photos_are_segmented_and_labelled_as_by_one_machine(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(make, "BLOCK", 2)
    photos = scenes_in(tmp_path / "photos")
    for name, engine in (("plain", None), ("made", cluster)):
        segment(photos, tmp_path / name, engine)
        make_pseudo_labels(
            *(gather([photos]), colour_segmenter, NAMES, tmp_path / f"{name} labels", {}),
            progress=False,
            cluster=engine,
        )
    assert files_of(tmp_path / "made") == files_of(tmp_path / "plain")
    assert files_of(tmp_path / "made labels") == files_of(tmp_path / "plain labels")


def test_photos_behind_a_url_are_fetched_by_the_workers(cluster, tmp_path):
    photos = scenes_in(tmp_path / "photos")
    segment(photos, tmp_path / "plain")
    segment(f"simplecache::file://{photos}", tmp_path / "made", cluster)
    assert files_of(tmp_path / "made") == files_of(tmp_path / "plain")


class Slow:
    """A segmenter that notes its process."""

    def __init__(self, marks: Path) -> None:
        self.marks = marks

    def __call__(self, path):
        Marking.note(self.marks, "batch")
        time.sleep(0.1)
        return colour_segmenter(path)


def test_a_worker_killed_while_it_segments_costs_its_block(cluster, tmp_path, marks, monkeypatch):
    monkeypatch.setattr(make, "BLOCK", 2)
    photos = scenes_in(tmp_path / "photos")
    segment(photos, tmp_path / "plain")

    def work() -> list[batch.Outcome]:
        return segment(photos, tmp_path / "made", cluster, Slow(marks))

    def kill() -> None:
        os.kill(next(iter(workers(marks))), signal.SIGKILL)

    outcomes = beside(work, marks, 3, kill)
    assert [outcome.state for outcome in outcomes] == ["done"] * 11 + ["failed"]
    assert files_of(tmp_path / "made") == files_of(tmp_path / "plain")
    done = sum(crews.noted(marks))
    assert done <= 12 + 2


def test_a_cluster_finds_what_one_machine_finds(cluster, photos, tmp_path):
    made = build(photos, tmp_path / "made", tmp_path)
    queries = np.random.default_rng(0).standard_normal((200, made.dim))
    spread = Index.open(made.path, cluster=cluster)
    assert spread.search(queries, 50) == made.search(queries, 50)


def test_results_come_in_order_and_blocks_are_taken_as_they_are_needed(cluster):
    taken = []

    def blocks():
        for number in range(500):
            taken.append(number)
            yield number

    found = cluster.map(np.square, blocks())
    assert [int(next(found)) for _ in range(3)] == [0, 1, 4]
    assert len(taken) < 500
    assert [int(each) for each in found] == [n * n for n in range(3, 500)]


def test_blocks_under_way_are_worked_on_when_the_caller_stops_early(cluster, marks):
    """Cancelled tasks whose results arrive meanwhile let Ray abort the whole process."""

    def work(number: int) -> int:
        (marks / f"begun {number}").touch()
        time.sleep(0.2)
        (marks / f"done {number}").touch()
        return number

    found = cluster.map(work, range(100))
    assert next(found) == 0
    found.close()
    assert list(cluster.map(abs, [-1, -2])) == [1, 2]
    end, begun, ended = time.monotonic() + 60, 0, 0
    while ended < 2 or ended != begun:
        assert time.monotonic() < end, "a block was broken off"
        time.sleep(0.05)
        begun, ended = (len(list(marks.glob(f"{word} *"))) for word in ("begun", "done"))
    assert ended < 100


def test_an_error_of_a_block_is_the_callers(cluster):
    def fail(block):
        raise InputError(f"block {block} is odd.")

    with pytest.raises(InputError, match="block 1 is odd"):
        list(cluster.map(fail, [1]))

    def stumble(block):
        return 1 / block

    with pytest.raises(ZeroDivisionError):
        list(cluster.map(stumble, [0]))


def test_a_block_that_ends_every_worker_is_one_sentence(cluster, monkeypatch):
    monkeypatch.setattr("recoseg.cluster.engine.RETRIES", 1)

    def die(block):
        os._exit(1)

    with pytest.raises(RecosegError, match="a block of work ended its worker 2 times"):
        list(cluster.map(die, [1]))


def test_a_gpu_that_no_node_has_is_one_sentence(nodes):
    with (
        pytest.raises(RecosegError, match="the cluster has no GPU"),
        RayCluster.connect(gpus=True),
    ):
        pass


def test_blocks_that_take_a_gpu_run_where_one_is_each_with_one_of_its_own(nodes, marks):
    """Ray counts GPUs as it is told to, so that their scheduling shows without any."""
    before = {node["NodeID"] for node in ray.nodes()}
    other = add_node(nodes, 4)  # its processors are no share of a GPU elsewhere
    node = nodes.add_node(num_cpus=2, num_gpus=2, object_store_memory=STORE)

    def work(wanted: int) -> tuple[str, list[int], str]:
        """Wait until so many GPUs have begun, that none can do all the work."""
        ids = ray.get_gpu_ids()
        (marks / str(ids)).touch()
        end = time.monotonic() + 60
        while len(list(marks.iterdir())) < wanted and time.monotonic() < end:
            time.sleep(0.05)
        seen = os.environ["CUDA_VISIBLE_DEVICES"]
        return ray.get_runtime_context().get_node_id(), ids, seen

    try:
        wait_for_gpus(2)
        with RayCluster.connect() as cluster:
            assert (cluster.cpus, cluster.gpus) == (1, 1)
            found = list(cluster.map(work, [2] * 8))
        assert {place for place, _, _ in found} == {node.node_id} - before
        assert all(len(ids) == 1 and seen == str(ids[0]) for _, ids, seen in found)
        assert {ids[0] for _, ids, _ in found} == {0, 1}, "one GPU did nothing"
        with RayCluster.connect(gpus=False) as cluster:
            found = list(cluster.map(work, [1] * 4))
        assert {(tuple(ids), seen) for _, ids, seen in found} == {((), "")}
    finally:
        for each in (node, other):
            nodes.remove_node(each)
        wait_for_gpus(0)


def test_what_cannot_be_sent_is_one_sentence(cluster):
    lock = threading.Lock()
    with pytest.raises(InputError, match="cannot be sent to other machines"):
        list(cluster.map(lambda _: lock, [1]))
