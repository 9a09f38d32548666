"""The queue has an end, jobs can be cancelled, and nothing that one does ends the server."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from recoseg.concepts.bank import ConceptBank
from recoseg.errors import ImageError
from recoseg.web.failures import Busy, Missing
from recoseg.web.worker import KEPT, Job, Worker
from tests.test_cli import on_toys, paint_all
from tests.toys import Toy, paint
from tests.webs import done, over, preview, sentence, serving, upload


class Gate:
    """Work that runs until it is let go, and says when it has begun."""

    def __init__(self, steps=0):
        self.begun, self.free = threading.Event(), threading.Event()
        self.steps = steps

    def __call__(self, step):
        self.begun.set()
        assert self.free.wait(30)
        for i in range(self.steps):
            step(i, self.steps)
        return {"bank": "done"}


@pytest.fixture
def worker():
    worker = Worker(bound=3)
    yield worker
    worker.close()


def gated(worker, steps=0, **fields):
    gate = Gate(steps)
    job = worker.submit(Job("test", "testing", gate, **fields))
    assert gate.begun.wait(30)
    return gate, job


def test_jobs_run_one_by_one_in_order(worker):
    seen, inside = [], []

    def work(name):
        def run(step):
            inside.append(name)
            assert len(inside) == 1
            seen.append(name)
            inside.remove(name)
            return {}

        return run

    gate, _ = gated(worker)
    jobs = [worker.submit(Job("test", name, work(name))) for name in "abc"]
    gate.free.set()
    assert [job.finished.result(30).state for job in jobs] == ["done"] * 3
    assert seen == ["a", "b", "c"]


def test_the_queue_is_bounded_and_empties_again(worker):
    gate, running = gated(worker)
    waiting = [worker.submit(Job("test", "", lambda step: {})) for _ in range(3)]
    with pytest.raises(Busy, match="3 jobs wait"):
        worker.submit(Job("test", "", lambda step: {}))
    with pytest.raises(Busy):
        worker.check_room()
    assert worker.counts() == (1, 3)
    gate.free.set()
    for job in [running, *waiting]:
        assert job.finished.result(30).state == "done"
    worker.check_room()


def test_a_waiting_job_is_cancelled_at_once_and_makes_room(worker):
    gate, running = gated(worker)
    waiting = [worker.submit(Job("test", "", lambda step: {"never": 1})) for _ in range(3)]
    assert worker.cancel(waiting[1].id).state == "cancelled"
    worker.check_room()
    gate.free.set()
    assert running.finished.result(30).state == "done"
    assert waiting[1].result is None


def test_a_running_job_is_cancelled_at_its_next_step(worker):
    gate, job = gated(worker, steps=5)
    assert worker.cancel(job.id).state == "running"
    gate.free.set()
    assert job.finished.result(30).state == "cancelled"
    assert (job.done, job.result) == (0, None)


def test_a_job_without_steps_that_is_cancelled_drops_its_result(worker):
    gate, job = gated(worker)
    worker.cancel(job.id)
    gate.free.set()
    assert job.finished.result(30).state == "cancelled"
    assert job.result is None
    assert worker.cancel(job.id).state == "cancelled"


def test_a_patient_job_lets_the_others_go_first(worker):
    order = []

    def short(step):
        order.append("short")
        return {}

    def long(step):
        step(0, 2)
        order.append("middle")
        step(1, 2)
        order.append("end")
        return {}

    gate, _ = gated(worker)
    patient = worker.submit(Job("index", "", long, patient=True))
    other = worker.submit(Job("index", "", lambda step: order.append("other") or {}, patient=True))
    quick = worker.submit(Job("search", "", short))
    gate.free.set()
    for job in (patient, quick, other):
        assert job.finished.result(30).state == "done"
    assert order == ["short", "middle", "end", "other"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImageError("this is no image; give another."), "this is no image; give another."),
        (MemoryError(), "more memory"),
        (ZeroDivisionError("secret detail"), "unexpected ZeroDivisionError"),
        (RecursionError(), "unexpected RecursionError"),
        (SystemExit(3), "unexpected SystemExit"),
        (KeyboardInterrupt(), "unexpected KeyboardInterrupt"),
    ],
)
def test_a_job_that_fails_says_so_and_the_next_one_runs(worker, caplog, error, words):
    def crash(step):
        raise error

    with caplog.at_level(logging.ERROR, "recoseg.web"):
        failed = worker.submit(Job("test", "", crash)).finished.result(30)
    assert (failed.state, failed.result) == ("failed", None)
    assert words in failed.error
    assert "secret" not in failed.error
    foreseen = isinstance(error, ImageError)
    assert bool(caplog.records) != foreseen
    assert foreseen or "Traceback" in caplog.text
    after = worker.submit(Job("test", "", lambda step: {"bank": "fine"})).finished.result(30)
    assert after.result == {"bank": "fine"}


def test_closing_cancels_what_waits_and_waits_for_what_runs():
    worker = Worker(bound=3)
    gate, running = gated(worker, steps=3)
    waiting = worker.submit(Job("test", "", lambda step: {}))
    closing = threading.Thread(target=worker.close)
    closing.start()
    assert waiting.finished.result(30).state == "cancelled"
    assert closing.is_alive()
    gate.free.set()
    closing.join(30)
    assert running.state == "cancelled"
    with pytest.raises(Busy, match="ending"):
        worker.submit(Job("test", "", lambda step: {}))


def test_only_the_newest_jobs_are_remembered(worker):
    made = []
    for count in range(1, KEPT + 20):
        made.append(worker.submit(Job("test", "", lambda step: {})))
        made[-1].finished.result(30)
        assert len(worker.jobs()) == min(count, KEPT)
    assert [job.id for job in worker.jobs()] == [job.id for job in reversed(made[-KEPT:])]
    with pytest.raises(Missing):
        worker.find(made[0].id)


def test_a_job_that_is_over_lets_go_of_its_upload(worker):
    class Upload:
        pass

    upload = Upload()
    gone = weakref.ref(upload)
    job = worker.submit(Job("test", "", lambda step, held=upload: {}))
    del upload
    job.finished.result(30)
    worker.submit(Job("test", "", lambda step: {})).finished.result(30)
    gc.collect()
    assert gone() is None


@pytest.fixture
def toy_server(tmp_path, monkeypatch):
    on_toys(monkeypatch)
    paint_all(tmp_path / "root" / "photos")
    with serving(tmp_path, bound=2) as client:
        yield client


def slow_model(monkeypatch, name):
    """Let the toy's method wait for a gate."""
    begun, free = threading.Event(), threading.Event()
    true = getattr(Toy, name)

    def slow(self, *args):
        begun.set()
        assert free.wait(30)
        return true(self, *args)

    monkeypatch.setattr(Toy, name, slow)
    return begun, free


def indexed(client):
    made = done(client, client.post("/api/indexes", json={"root": "r0", "path": "photos"}))
    return made["index"]


def test_beyond_the_bound_the_server_is_busy_and_says_when_to_ask_again(
    toy_server, monkeypatch, tmp_path
):
    index = indexed(toy_server)
    begun, free = slow_model(monkeypatch, "embed_texts")
    running = preview(toy_server, ["red"], index=index)
    assert begun.wait(30)
    accepted = [preview(toy_server, ["red"], index=index) for _ in range(2)]
    asked = [
        preview(toy_server, ["red"], index=index),
        upload(toy_server, paint(tmp_path / "a.png", "red").read_bytes()),
        toy_server.post("/api/search", json={"index": index, "query": "red"}),
        toy_server.post("/api/indexes", json={"root": "r0", "path": "photos/deep"}),
    ]
    for refused in asked:
        assert "busy" in sentence(refused, 503)
        assert int(refused.headers["retry-after"]) >= 1
    assert toy_server.get("/api/health").json()["waiting"] == 2
    dropped = toy_server.delete(f"/api/jobs/{accepted[0].json()['job']}").json()
    assert dropped["state"] == "cancelled"
    free.set()
    done(toy_server, running)
    done(toy_server, accepted[1])


def test_a_cancelled_index_keeps_its_part_and_goes_on(toy_server, monkeypatch, tmp_path):
    for i in range(40):
        paint(tmp_path / "root" / "many" / f"{i}.png", "red", "blue", size=33 + i)
    begun, free = slow_model(monkeypatch, "embed_images")
    order = {"root": "r0", "path": "many"}
    asked = toy_server.post("/api/indexes", json=order)
    assert begun.wait(30)
    twice = toy_server.post("/api/indexes", json=order)
    assert twice.json() == asked.json()
    (row,) = toy_server.get("/api/indexes").json()
    assert row["state"] == "indexing"
    toy_server.delete(f"/api/jobs/{asked.json()['job']}")
    free.set()
    assert over(toy_server, asked)["state"] == "cancelled"
    (row,) = toy_server.get("/api/indexes").json()
    assert row["state"] == "partial"
    assert row["photos"] < 40
    assert done(toy_server, toy_server.post("/api/indexes", json=order))["photos"] == 40
    (row,) = toy_server.get("/api/indexes").json()
    assert (row["state"], row["photos"]) == ("ready", 40)


def test_a_crash_in_a_model_leaves_the_server_alive(toy_server, monkeypatch, caplog):
    index = indexed(toy_server)

    def broken(self, texts):
        raise RuntimeError("weights on fire")

    with monkeypatch.context() as patch:
        patch.setattr(Toy, "embed_texts", broken)
        row = over(toy_server, preview(toy_server, ["red"], index=index))
        search = toy_server.post("/api/search", json={"index": index, "query": "red"})
    assert row["state"] == "failed"
    assert "RuntimeError" in row["error"]
    assert "fire" not in row["error"]
    assert "RuntimeError" in sentence(search, 500)
    assert "weights on fire" in caplog.text
    done(toy_server, preview(toy_server, ["red"], index=index))


def test_a_crash_in_a_route_is_one_sentence(toy_server, monkeypatch):
    def broken(self):
        raise RuntimeError("a secret")

    monkeypatch.setattr("recoseg.web.banks.BankLibrary.entries", broken)
    assert "secret" not in sentence(toy_server.get("/api/banks"), 500)
    assert toy_server.get("/api/health").status_code == 200


def test_saves_at_once_lose_none(toy_server, tmp_path):
    index = indexed(toy_server)
    draft = done(toy_server, preview(toy_server, ["red"], index=index))["draft"]
    names = [f"shade {i}" for i in range(12)]

    def save(name):
        return toy_server.post(f"/api/drafts/{draft}/save", json={"bank": "mine", "name": name})

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(save, names))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["bank"] for answer in answers}) == 1
    bank = ConceptBank.open(tmp_path / "state" / "banks" / "mine.bank")
    assert sorted(bank.names) == sorted(names)


def test_a_model_is_loaded_once_and_a_segmenter_kept(toy_server, monkeypatch, tmp_path):
    from recoseg.models import registry

    index = indexed(toy_server)
    draft = done(toy_server, preview(toy_server, ["red"], index=index))["draft"]
    saved = toy_server.post(f"/api/drafts/{draft}/save", json={"bank": "mine", "name": "red"})
    loads = []
    load = registry._load
    monkeypatch.setattr(registry, "_load", lambda *given: loads.append(given) or load(*given))
    data = paint(tmp_path / "a.png", "red").read_bytes()
    for _ in range(3):
        done(toy_server, upload(toy_server, data, bank=saved.json()["bank"]))
    assert len(loads) <= 2  # one look-up per role, for the first of the three
    assert len(toy_server.app.state.service.segmenters._made) == 1
