"""One portable file per student: safetensors of its network, whose header says everything else.

header "recoseg_student"  JSON: format, names, colours, architecture, provenance, digest of it all
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recoseg.drawing import palette
from recoseg.errors import InputError, RecosegError, StudentError
from recoseg.io.sealed import Seal
from recoseg.student.deeplab import Architecture, Network

SEAL = Seal(
    "recoseg_student",
    "a student",
    1,
    StudentError,
    "give a file written by recoseg adapt, or copy it again",
)
Parts = tuple[Network, list[str], Architecture, dict[str, Any]]


def write(
    path: Path,
    network: Network,
    names: Sequence[str],
    architecture: Architecture,
    provenance: Mapping[str, Any],
) -> None:
    """Replace ``path`` by a student of these parts, whole or not at all."""
    if not path.parent.is_dir():
        raise StudentError(f"the folder {path.parent} does not exist; make it first.")
    header = {
        "names": list(names),
        "colours": palette.colours(len(names)).tolist(),
        "architecture": architecture.to_dict(),
        "provenance": dict(provenance),
    }
    SEAL.write(path, header, network.state_dict())


def read(path: Path) -> Parts:
    """Network, names, architecture and provenance of a student's file.

    Raises:
        StudentError: missing, damaged, something else, or of a newer version.
        TrainingError: segmentation-models-pytorch is not installed.
    """
    header, tensors = SEAL.read(path)
    try:
        architecture = Architecture.from_dict(header["architecture"])
        network = Network(architecture)
        network.load_state_dict(tensors)
        return network, list(header["names"]), architecture, dict(header["provenance"])
    except (KeyError, TypeError, ValueError, RuntimeError, InputError) as error:
        raise StudentError(
            f"{path} does not describe a network of this version; {SEAL.remedy}."
        ) from error


def is_student(path: str | Path) -> bool:
    """Whether a file is a student's, by its header."""
    try:
        SEAL.read(Path(path))
    except RecosegError:
        return False
    return True
