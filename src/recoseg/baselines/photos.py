"""The photos that a baseline is trained on, as squares of one size."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from recoseg.errors import InputError
from recoseg.io import images
from recoseg.io.squares import cut_square
from recoseg.runs import inputs

CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5))


@dataclass(frozen=True)
class Photos:
    """Squares of photos, by number.

    Attributes:
        files: the photos, in the order of their names, so that frames of a film are neighbours.
        size: side of a square in pixels.
        crops: 1 is the central square of the short side; 5 are the corners and the centre of half
            the short side (STEGO's five crops), numbered photo by photo.
    """

    files: tuple[Path, ...]
    size: int
    crops: int = 1

    @classmethod
    def of(cls, folder: str | Path, size: int, crops: int = 1) -> Photos:
        """All photos of a folder and those below it.

        Raises:
            ImageError: the folder does not exist.
            ArchiveError: it holds no image.
            InputError: it holds one only.
        """
        found = inputs.gather([folder])
        if len(found) < 2:
            raise InputError(f"{folder} holds one photo; a baseline needs many, at least two.")
        return cls(tuple(each.path for each in found), size, crops)

    def __len__(self) -> int:
        return len(self.files) * self.crops

    def read(self, number: int) -> Tensor:
        """uint8 (3, size, size) of a square; ImageError if its photo cannot be read."""
        photo, corner = divmod(number, self.crops)
        image = images.read(self.files[photo], at_least=self.size * (2 if self.crops == 5 else 1))
        if self.crops == 1:
            square = cut_square(image, self.size)
        else:
            image = images.resize_short(image, 2 * self.size)
            down, right = CORNERS[corner]
            top = round(down * (image.shape[0] - self.size))
            left = round(right * (image.shape[1] - self.size))
            square = image[top : top + self.size, left : left + self.size]
        return torch.from_numpy(square.copy()).permute(2, 0, 1).contiguous()

    def batch(self, numbers: Sequence[int]) -> Tensor:
        """Float (B, 3, size, size) in [0, 1] of several squares."""
        return torch.stack([self.read(number) for number in numbers]).float().div_(255)

    @property
    def digest(self) -> str:
        """Sixteen hex digits of names, sizes and times of the files and how they are cut."""
        digest = hashlib.sha256(f"{self.size} {self.crops}".encode())
        for file in self.files:
            facts = file.stat()
            digest.update(f"\n{file} {facts.st_size} {facts.st_mtime_ns}".encode())
        return digest.hexdigest()[:16]
