"""Registry of model backends: models by id, and the lazily loaded models of a recipe."""

from __future__ import annotations

import functools
import json
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from recoseg.errors import BankError, InputError, UnknownModel
from recoseg.models import ids
from recoseg.models.base import JointModel, PatchEncoder
from recoseg.models.ids import ModelId
from recoseg.recipe import Recipe

Model = JointModel | PatchEncoder
T = TypeVar("T")
ROLES = ("retrieval", "dense", "encoder")


def load(model: str | Model, device: str | torch.device | None = None) -> Model:
    """The model of an id; a model is returned as it is.

    The last four are kept in memory for the next call, until ``release``.

    Args:
        model: ``"lite"``, ``"clip:ARCHITECTURE/TAG-OR-FILE"``, ``"timm:ARCHITECTURE[/FILE]"``, an
            alias of ``models.ids``, a downloaded repository's folder, or an object that already
            fulfils a protocol of ``models.base``.
        device: where to compute; by default CUDA if present, else the CPU.

    Raises:
        UnknownModel: the id has no backend; the message lists the ids that are near.
        MissingWeights: the backend's weights are absent or damaged.
        InputError: the device is unknown, or not on this machine.
    """
    if not isinstance(model, str):
        return model
    return _load(model, str(device_of(device)))


def load_joint(model: str | Model, device: str | torch.device | None = None) -> JointModel:
    """``load`` for a language-image model; a purely visual one is refused."""
    loaded = load(model, device)
    if not isinstance(loaded, JointModel):
        raise UnknownModel(f"{loaded.id} reads no text; name a language-image model, e.g. 'lite'.")
    return loaded


def load_encoder(model: str | Model, device: str | torch.device | None = None) -> PatchEncoder:
    """``load`` for a dense visual encoder; a model without pixel features is refused."""
    loaded = load(model, device)
    if not isinstance(loaded, PatchEncoder):
        raise UnknownModel(f"{loaded.id} gives no pixel features; name an encoder, e.g. 'lite'.")
    return loaded


def device_of(device: str | torch.device | None) -> torch.device:
    """The device of a name; for None CUDA if present, else the CPU.

    Raises:
        InputError: torch does not know it, or it is not on this machine.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    # A build without CUDA says so by AssertionError.
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"the device {str(device)!r} cannot be used here; leave it out, or see what `recoseg "
            "doctor` says of devices."
        ) from error
    return chosen


def origin(model: Model) -> str | None:
    """The id by which ``load`` made a model; None for one that a caller made."""
    return next((id for id, made in _made.items() if made is model), None)


def identify(text: str) -> ModelId:
    """Parse an id, an alias, or a local path whose architecture can be told.

    Raises:
        UnknownModel: none of these.
    """
    path = Path(text).expanduser()
    if ":" in text or text in ids.ALIASES or text == "lite" or not path.exists():
        return ids.parse(text)
    return _from_folder(path) if path.is_dir() else _from_file(path)


def _from_folder(folder: Path) -> ModelId:
    """A downloaded repository of timm, whose configuration names the architecture."""
    files = [folder / name for name in ("model.safetensors", "pytorch_model.bin")]
    weights = next((file for file in files if file.is_file()), None)
    config = folder / "config.json"
    if weights is not None and config.is_file():
        try:
            stated = json.loads(config.read_text(encoding="utf-8"))
            tag = stated.get("pretrained_cfg", {}).get("tag", "")
            name = f"{stated['architecture']}.{tag}" if tag else stated["architecture"]
            return ModelId("timm", name, str(weights))
        except (OSError, ValueError, KeyError, AttributeError):
            pass
    raise _ambiguous(folder)


def _from_file(file: Path) -> ModelId:
    """One of OpenAI's published files, known by its digest."""
    from recoseg.models import cliptable

    architecture, _ = cliptable.recognise_file(file)
    if not architecture:
        raise _ambiguous(file)
    return ModelId("clip", architecture, str(file))


def _ambiguous(path: Path) -> UnknownModel:
    return UnknownModel(
        f"{path} does not say which architecture it is of; write clip:ARCHITECTURE/{path} or "
        f"timm:ARCHITECTURE/{path}."
    )


def _load(model: str, device: str) -> Model:
    # Two names of one model share it.
    return _load_id(str(identify(model)), device)


def release() -> None:
    """Forget the models kept for the next call; one that is still used goes with its last user."""
    _load_id.cache_clear()


_made: weakref.WeakValueDictionary[str, Model] = weakref.WeakValueDictionary()


@functools.lru_cache(maxsize=4)
def _load_id(model: str, device: str) -> Model:
    made = _made[model] = _make(model, device)
    return made


def _make(model: str, device: str) -> Model:
    id = ids.parse(model)
    if id.scheme == "clip":
        from recoseg.models.clip import OpenClip

        return cast(Model, OpenClip.load(id, torch.device(device)))
    if id.scheme == "timm":
        from recoseg.models.patches import TimmEncoder

        return TimmEncoder.load(id, torch.device(device))
    id.refuse_options_but()
    if id.architecture:
        from recoseg.models.lite import LiteStage

        return LiteStage.load(device)
    from recoseg.models.lite import Lite

    return cast(Model, Lite.load(device=device))


class Models:
    """Lazily loaded models of a recipe; two or all may be the same object.

    Each is given as a model or as a function that loads it. A segmenter never asks for the one
    that retrieves, so it never pays for it.
    """

    def __init__(
        self,
        retrieval: JointModel | Callable[[], JointModel],
        dense: JointModel | Callable[[], JointModel],
        encoder: PatchEncoder | Callable[[], PatchEncoder],
    ) -> None:
        self._retrieval, self._dense, self._encoder = retrieval, dense, encoder
        self._origin: tuple[Recipe, str | torch.device | None] | None = None

    @classmethod
    def load(cls, recipe: Recipe, device: str | torch.device | None = None) -> Models:
        """The models that a recipe names; nothing is loaded yet.

        What is wrong with an id or its weights is raised when that model is first asked for.
        """
        made = cls(
            lambda: load_joint(recipe.retrieval, device),
            lambda: load_joint(recipe.dense, device),
            lambda: load_encoder(recipe.encoder, device),
        )
        made._origin = (recipe, device)
        return made

    def __reduce__(self) -> Any:
        """Sent to another process, what a recipe named is loaded there and not sent itself."""
        if self._origin is not None:
            return Models.load, self._origin
        return Models, (self._retrieval, self._dense, self._encoder)

    @functools.cached_property
    def retrieval(self) -> JointModel:
        """Embeds the archive and the names."""
        return _resolve(self._retrieval)

    @functools.cached_property
    def dense(self) -> JointModel:
        """Scores pixels by language (DenseCLIP)."""
        return _resolve(self._dense)

    @functools.cached_property
    def encoder(self) -> PatchEncoder:
        """Gives the pixels that are co-segmented."""
        return _resolve(self._encoder)

    @property
    def fingerprints(self) -> dict[str, str]:
        """Role to the digest of that model's weights and preprocessing; loads all three."""
        return self.of(ROLES)

    def of(self, roles: Sequence[str]) -> dict[str, str]:
        """Fingerprints of some roles; loads those alone."""
        return {role: getattr(self, role).fingerprint for role in roles}

    def check(self, fingerprints: Mapping[str, str], roles: Sequence[str] = ROLES) -> None:
        """BankError unless the models of ``roles``, which it loads, have these fingerprints."""
        for role, digest in self.of(roles).items():
            if fingerprints.get(role, digest) != digest:
                raise BankError(
                    f"the {role} model at hand ({getattr(self, role).id}) is not the one the bank "
                    "was built with; use the same weights, or build the bank again."
                )


def _resolve(given: T | Callable[[], T]) -> T:
    # Models may be callable too, as torch's modules are; a loader has no fingerprint.
    return cast(T, given() if callable(given) and not hasattr(given, "fingerprint") else given)
