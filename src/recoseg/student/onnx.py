"""A student as an ONNX file: pixels in, labels out, nothing else needed to run it.

Input ``image``, uint8 (H, W, 3) RGB of any size; outputs ``labels``, uint8 (H, W), and
``confidence``, float32 (H, W). Normalisation and resizing are inside; names and colours
are in the metadata. Images are not cut into tiles: memory grows with their size.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from recoseg.drawing import palette
from recoseg.errors import InputError, StudentError
from recoseg.io import durable, images
from recoseg.io.images import ImageLike
from recoseg.student.deeplab import stretch_to_fit
from recoseg.student.student import TILING, Student

OPSET = 18
EXAMPLE = (160, 192)
CALIBRATION_SIDE = 480


@dataclass(frozen=True)
class OnnxExport:
    """An ONNX file, and how far its labels agree with the student's.

    Attributes:
        path: the file.
        agreement: share of pixels with the student's labels, over the photos given; None without.
        int8: whether weights and activations are 8-bit integers.
    """

    path: Path
    agreement: float | None
    int8: bool


def export(
    student: Student,
    path: str | Path,
    *,
    photos: Sequence[ImageLike] = (),
    int8: bool = False,
) -> OnnxExport:
    """Write a student as ONNX and compare it with the student itself.

    Args:
        student: what to export.
        path: the file, ending in ``.onnx``.
        photos: to compare on; with ``int8`` half of them (at least one) set the ranges and the
            others are compared on.
        int8: quantise to 8-bit integers; needs two photos.

    Raises:
        InputError: the path or the photos do not allow it.
        StudentError: onnx, onnxscript or onnxruntime is missing: ``pip install 'recoseg[onnx]'``.
    """
    path = Path(path)
    if path.suffix != ".onnx" or not path.parent.is_dir():
        raise InputError(f"{path} must end in .onnx and lie in a folder that exists.")
    if len(student.names) > 256:
        raise InputError("an ONNX student has at most 256 names; choose some.")
    if int8 and len(photos) < 2:
        raise InputError("int8 needs photos: some to set its ranges and others to measure on.")
    _check_packages()
    shown = [_limit_size(photo, student.architecture.short_side) for photo in photos]
    model = _graph(student)
    if int8:
        model = _quantise(model, shown[::2])
        shown = shown[1::2]
    _describe(model, student, int8)
    durable.write(path, model.SerializeToString())
    agreement = _agreement(student, path, shown) if shown else None
    return OnnxExport(path, agreement, int8)


class _OnnxModule(nn.Module):
    """uint8 (H, W, 3) to labels and confidence (H, W)."""

    def __init__(self, network: nn.Module, short_side: int) -> None:
        super().__init__()
        self.network, self.short_side = network, short_side

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        pixels = stretch_to_fit(image.permute(2, 0, 1)[None].float() / 255, self.short_side)
        maps = torch.softmax(self.network(pixels), dim=1)
        size = [image.shape[0], image.shape[1]]
        whole = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
        confidence, labels = whole[0].max(dim=0)
        return labels.to(torch.uint8), confidence


def _graph(student: Student) -> Any:
    import onnx

    door = _OnnxModule(student.inference, student.architecture.short_side).cpu().eval()
    image = torch.zeros(*EXAMPLE, 3, dtype=torch.uint8)
    sides = {0: torch.export.Dim("height", min=2), 1: torch.export.Dim("width", min=2)}
    stream = io.BytesIO()
    with _silence():
        program: Any = torch.onnx.export(
            door,
            (image,),
            input_names=["image"],
            output_names=["labels", "confidence"],
            dynamic_shapes=(sides,),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        program.save(stream)
    student.inference.to(student.device)
    return onnx.load_model_from_string(stream.getvalue())


def _quantise(model: Any, photos: Sequence[images.RGB]) -> Any:
    """Static quantisation per channel, ranges from photos; the pixels' own part stays float."""
    import onnx
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Photos(q.CalibrationDataReader):  # type: ignore[misc]
        left = iter([{"image": photo} for photo in photos])

        def get_next(self) -> Any:
            return next(self.left, None)

    with tempfile.TemporaryDirectory() as folder, _silence():
        plain, ready, small = (str(Path(folder) / name) for name in ("a.onnx", "b.onnx", "c.onnx"))
        onnx.save(model, plain)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        q.quantize_static(
            ready,
            small,
            Photos(),
            quant_format=q.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=q.QuantType.QUInt8,
            weight_type=q.QuantType.QInt8,
        )
        return onnx.load(small)


def _describe(model: Any, student: Student, int8: bool) -> None:
    facts = {
        "names": list(student.names),
        "colours": palette.colours(len(student.names)).tolist(),
        "int8": int8,
        "provenance": student.provenance,
    }
    del model.metadata_props[:]
    for key, value in facts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value, ensure_ascii=False)


def _agreement(student: Student, path: Path, photos: Sequence[images.RGB]) -> float:
    same = total = 0
    for photo, labels in zip(photos, run(path, photos), strict=True):
        same += int((student(photo, refine=False).labels == labels).sum())
        total += labels.size
    return same / total


def run(path: Path, photos: Sequence[images.RGB]) -> Iterator[NDArray[np.uint8]]:
    """Labels (H, W) of uint8 (H, W, 3) photos by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for photo in photos:
        yield session.run(["labels"], {"image": photo})[0]


def _limit_size(photo: ImageLike, short_side: int) -> images.RGB:
    """A photo with its short side at most 480, and so long that a student cuts no tiles."""
    image = images.read(photo)
    if min(image.shape[:2]) > CALIBRATION_SIDE:
        image = images.resize_short(image, CALIBRATION_SIDE)
    short = min(image.shape[:2])
    most = TILING.side * short // max(short, min(2 * short, short_side))
    return np.ascontiguousarray(image[:most, :most])


def _check_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise StudentError(f"ONNX needs {error.name}; run: pip install 'recoseg[onnx]'") from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporters' own chatter off; it speaks of their insides."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
