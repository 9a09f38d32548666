"""Each format comes back, pixel for pixel, through the reader of the tool it is written for."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torchvision.datasets import VOCSegmentation

from recoseg.exporting import naming
from tests.asking import ask, interpreter
from tests.exported import NAMES, beside_photos, go, hard_labels

POLYGONS = ("coco-polygons", "yolo", "labelstudio-polygons")
BOTH = ("class", "component")
# Tool, format, and what is one annotation.
CASES = [
    *(("by_datumaro", "cvat", parts) for parts in BOTH),
    ("by_datumaro", "voc", "class"),
    *(("by_datumaro", "coco-rle", parts) for parts in BOTH),
    *(("by_datumaro", "coco-polygons", parts) for parts in BOTH),
    *(("by_labelstudio", "labelstudio", parts) for parts in BOTH),
    *(("by_labelstudio", "labelstudio-polygons", parts) for parts in BOTH),
    ("by_opencv", "coco-polygons", "class"),
    ("by_opencv", "labelstudio-polygons", "class"),
    ("by_opencv", "yolo", "component"),
    ("by_ultralytics", "yolo", "component"),
    *(("by_datasets", "huggingface", parts) for parts in BOTH),
]


@functools.cache
def labels_by_id():
    """Those that are hard, smooth ones with parts of all sizes, and a part with 700 holes."""
    coarse = np.random.default_rng(5).random((4, 60, 48))
    smooth = ndimage.gaussian_filter(coarse, (0, 1.5, 1.5))
    blotchy = np.where(smooth.max(0) < 0.53, -1, smooth.argmax(0)).astype(np.int32)
    sieve = np.full((41, 71), 2, np.int32)
    sieve[1::2, 1::2] = -1
    return {**hard_labels(), "blotchy.jpg": blotchy, "sieve.png": sieve}


def random_labels():
    rng = np.random.default_rng(11)
    sizes = rng.integers(1, 10, (150, 2))
    return {f"{i}.png": rng.integers(-1, 2, size).astype(np.int32) for i, size in enumerate(sizes)}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """What a tool reads of every format that CASES sends it, each tool started once."""
    interpreter()
    here = tmp_path_factory.mktemp("asked")
    items = beside_photos(here, labels_by_id())

    @functools.cache
    def answers(tool):
        folders = {}
        for _, format, parts in (case for case in CASES if case[0] == tool):
            out = here / f"{tool}-{format}-{parts}"
            options = {} if format == "yolo" else {"parts": parts}
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(here)
                relative = [(path.relative_to(here), *rest) for path, *rest in items]
                go(relative, format, out, prefix=f"{here}/", **options)
            folders[f"{format} {parts}"] = format, out
        return ask(tool, folders, here / tool)

    return lambda tool, format, parts: answers(tool)[f"{format} {parts}"]


def as_named(format):
    """The names of classes as a format can hold them."""
    return [naming.map_label(n) if format in ("cvat", "voc") else n for n in NAMES]


def how_many(labels, whole):
    """Annotations of a label map, by class or else by part."""
    masks = [labels == label for label in np.unique(labels[labels >= 0])]
    return len(masks) if whole else sum(ndimage.label(mask)[1] for mask in masks)


def painted(pairs, names, shape):
    """A label map of (name, mask) pairs, which must not overlap."""
    canvas = np.full(shape, -1)
    for name, mask in pairs:
        assert mask.shape == shape
        assert (canvas[mask] == -1).all()
        canvas[mask] = names.index(name)
    return canvas


@pytest.mark.parametrize(("tool", "format", "parts"), CASES)
def test_a_tool_reads_back_every_pixel(asked, tool, format, parts):
    found, names = asked(tool, format, parts), as_named(format)
    assert found["error"] is None, found["error"]
    tables = {"cvat": ["background", *names], "voc": ["background", *names, "ignored"]}
    assert found["names"] in (None, tables.get(format, names))
    images = {naming.file_stem(Path(id).name): pairs for id, pairs in found["images"].items()}
    assert len(images) == len(found["images"]) == len(labels_by_id())
    for id, labels in labels_by_id().items():
        pairs = images[naming.file_stem(id if format in ("voc", "yolo") else Path(id).name)]
        if format == "voc":
            void = [mask for name, mask in pairs if name == "ignored"]
            np.testing.assert_array_equal(np.any(void, axis=0), labels == -1)
            pairs = [pair for pair in pairs if pair[0] != "ignored"]
        np.testing.assert_array_equal(painted(pairs, names, labels.shape), labels)
        assert len(pairs) == how_many(labels, parts == "class" and format not in POLYGONS)


def test_without_the_readers_a_test_is_skipped_and_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOSEG_READERS", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="run `make readers`"):
        ask("by_opencv", {}, tmp_path / "home")


def test_opencv_draws_random_labels(tmp_path):
    wanted = random_labels()
    go([(id, labels, NAMES) for id, labels in wanted.items()], "coco-polygons", tmp_path / "out")
    question = {"random": ("coco-polygons", tmp_path / "out")}
    found = ask("by_opencv", question, tmp_path / "home")["random"]
    assert found["error"] is None, found["error"]
    assert list(found["images"]) == list(wanted)
    for id, labels in wanted.items():
        np.testing.assert_array_equal(painted(found["images"][id], NAMES, labels.shape), labels)


@pytest.fixture
def relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    items = beside_photos(tmp_path, labels_by_id())
    return [(path.relative_to(tmp_path), *rest) for path, *rest in items]


def test_voc_by_torchvision(relative, tmp_path):
    go(relative, "voc", "VOCdevkit/VOC2012")
    dataset = VOCSegmentation(str(tmp_path), year="2012", image_set="trainval")
    assert len(dataset) == len(labels_by_id())
    for (photo, target), labels in zip(dataset, labels_by_id().values(), strict=True):
        assert photo.size == labels.shape[::-1]
        np.testing.assert_array_equal(np.asarray(target), np.where(labels < 0, 255, labels + 1))


def records(relative, tmp_path):
    go(relative, "huggingface", "records")
    lines = (tmp_path / "records/segments.jsonl").read_text().splitlines()
    return {row["image"]: row for row in map(json.loads, lines)}


@pytest.fixture
def endpoint():
    """A server that answers each request with its ``answer``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(server.answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.shutdown()


def test_records_are_what_an_inference_endpoint_answers(relative, tmp_path, endpoint, monkeypatch):
    from huggingface_hub import InferenceClient

    # The endpoint is on this machine.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    client = InferenceClient(f"http://127.0.0.1:{endpoint.server_port}")
    rows = records(relative, tmp_path)
    for id, labels in labels_by_id().items():
        endpoint.answer = rows[id]["segments"]
        found = client.image_segmentation((tmp_path / id).read_bytes())
        assert {one.score for one in found} <= {None}
        pairs = [(one.label, np.asarray(one.mask) == 255) for one in found]
        np.testing.assert_array_equal(painted(pairs, NAMES, labels.shape), labels)


def test_records_are_what_a_semantic_pipeline_returns(relative, tmp_path):
    from transformers import (
        ImageSegmentationPipeline,
        SegformerConfig,
        SegformerForSemanticSegmentation,
        SegformerImageProcessor,
    )
    from transformers.modeling_outputs import SemanticSegmenterOutput

    config = SegformerConfig(id2label=dict(enumerate(NAMES)), num_labels=len(NAMES))
    model = SegformerForSemanticSegmentation(config)
    pipeline = ImageSegmentationPipeline(model, image_processor=SegformerImageProcessor())
    # A pipeline knows no void.
    full = [(path, np.maximum(labels, 0), names) for path, labels, names in relative]
    rows = records(full, tmp_path)
    for path, labels, _ in full:
        logits = torch.nn.functional.one_hot(torch.from_numpy(labels).long(), len(NAMES))
        outputs = SemanticSegmenterOutput(logits=logits.movedim(-1, 0)[None].float())
        outputs["target_size"] = [labels.shape]
        for returned, written in zip(
            pipeline.postprocess(outputs), rows[path.as_posix()]["segments"], strict=True
        ):
            mask = Image.open(io.BytesIO(base64.b64decode(written["mask"])))
            assert set(returned) == set(written)
            assert (written["label"], written["score"]) == (returned["label"], returned["score"])
            assert (mask.mode, mask.size) == (returned["mask"].mode, returned["mask"].size)
            np.testing.assert_array_equal(np.asarray(mask), np.asarray(returned["mask"]))
