"""The settings of the method as one frozen, validated value, with the presets as data."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recoseg.crf_settings import CRF as CRF
from recoseg.crf_settings import check_positive, check_whole
from recoseg.errors import RecipeError
from recoseg.typecheck import check_fields

COSEGMENTED = ("encoder", "dense")
CONTEXTS = ("tree", "sky", "building", "road", "person")
RESIZES = ("bilinear", "bicubic")
COSEGMENTERS = ("support", "spectral")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a bank holds and how an image is segmented.

    Attributes:
        name: what to call it.
        retrieval: id of the language-image model that embeds the archive and the names.
        dense: id of the language-image model whose dense map gives saliency (DenseCLIP).
        encoder: id of the visual encoder whose pixels are compared with a concept's reference.
        cosegment: whose pixels are co-segmented and compared with contexts: ``"encoder"``, as in
            the paper, or ``"dense"``, whose map may know better what is alike where the encoder
            knows better where it ends; the reference is the encoder's, at the same places.
        cosegmenter: how the pixels that the photos agree on are found: ``"support"``, the paper's,
            or ``"spectral"`` (``recoseg.building.cosegmenters``).
        templates: name of the prompt ensemble (``recoseg.models.prompts``).
        k: images retrieved per concept.
        archive_size: side of the square that an archive image is cropped to, pixels.
        archive_resize: how it gets there: ``"bilinear"`` is the paper's, from the whole image;
            ``"bicubic"`` may begin with a JPEG decoded at a reduced size.
        image_size: short side that an image to be segmented is encoded at, pixels; None for its
            own, so that a protocol's geometry reaches the encoder, as in the paper.
        tiles: also encode an image with a short side of 1280 pixels or more in overlapping tiles.
        most_pixels: up to which scores and CRF have the image's own size, and to which a larger one
            is shrunk for them; None for any size.
        contenders: of more concepts than these, those that win the largest parts of a quick look at
            the image go into the CRF; None for all, which takes time and memory in proportion.
        scales: multiples of ``image_size`` at which it is encoded; the maps are averaged.
        contexts: concepts eliminated from every other, in the order they are built.
        lgc: guide co-segmentation by language (the saliency of step 5 of the method).
        ce: eliminate common context (step 6).
        denseclip: multiply by the language saliency at inference (step 9).
        gain: slope of the language saliency, sigmoid(gain * cosine).
        visual_gain: slope of the visual evidence at inference, sigmoid(visual_gain * cosine).
        centre: take a concept's median cosine over photos of everything off its cosines at
            inference, so that none wins because it is near to everything.
        smooth: sharpness with which ReCo's cosines are averaged over those pixels of the image that
            are alike to the encoder (``recoseg.similarity``); 0 for not at all.
        debias: share of a concept's mean cosine over the image that is taken off its language map
            at inference, 0 to 1: the scene as a whole says less than what differs within it.
        crf: the refinement's settings.
        confidence_temperature: scores are divided by it before the softmax that says how sure a
            label is, whatever the CRF made of it; None takes the probabilities that gave the label,
            the CRF's own, which are near 1 nearly everywhere.
    """

    name: str
    retrieval: str
    dense: str
    encoder: str
    cosegment: str = "encoder"
    cosegmenter: str = "support"
    templates: str = "paper"
    k: int = 50
    archive_size: int = 224
    archive_resize: str = "bicubic"
    image_size: int | None = 320
    tiles: bool = True
    most_pixels: int | None = 640_000
    contenders: int | None = 32
    scales: tuple[float, ...] = (1.0,)
    contexts: tuple[str, ...] = CONTEXTS
    lgc: bool = True
    ce: bool = True
    denseclip: bool = True
    gain: float = 10.0
    visual_gain: float = 1.0
    centre: bool = False
    smooth: float = 0.0
    debias: float = 0.0
    crf: CRF = field(default_factory=CRF)
    confidence_temperature: float | None = None

    def __post_init__(self) -> None:
        """Check every type and range."""
        check_whole("k", self.k, 1, 10_000)
        check_whole("archive_size", self.archive_size, 32, 4096)
        for name, low in (("image_size", 32), ("most_pixels", 1024), ("contenders", 1)):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), low, 10**9 if low > 32 else 8192)
        check_positive("gain", self.gain)
        check_positive("visual_gain", self.visual_gain)
        if self.cosegment not in COSEGMENTED:
            raise RecipeError(
                f"cosegment must be one of {', '.join(COSEGMENTED)}, not {self.cosegment!r}."
            )
        for name, allowed in (("archive_resize", RESIZES), ("cosegmenter", COSEGMENTERS)):
            if (value := getattr(self, name)) not in allowed:
                raise RecipeError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
        for name, off in (("confidence_temperature", None), ("smooth", 0)):
            if getattr(self, name) != off:
                check_positive(name, getattr(self, name))
        check_fields(self, RecipeError)
        if not 0 <= self.debias <= 1:
            raise RecipeError(f"debias must lie between 0 and 1, not {self.debias!r}.")
        self._check_lists()

    def _check_lists(self) -> None:
        object.__setattr__(self, "contexts", tuple(self.contexts))
        object.__setattr__(self, "scales", tuple(float(scale) for scale in self.scales))
        if not self.scales or not all(0.1 <= scale <= 8 for scale in self.scales):
            raise RecipeError(f"scales must be numbers from 0.1 to 8, not {self.scales!r}.")
        if len(set(self.contexts)) != len(self.contexts):
            raise RecipeError(
                f"contexts repeat a name: {', '.join(self.contexts)}; name each once."
            )

    def replace(self, **changes: Any) -> Recipe:
        """A copy with some fields changed; an unknown field is a RecipeError."""
        unknown = set(changes) - {f.name for f in dataclasses.fields(self)}
        if unknown:
            raise RecipeError(f"a recipe has no field {sorted(unknown)[0]!r}; see Recipe's fields.")
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        lists = {"contexts": list(self.contexts), "scales": list(self.scales)}
        return {**dataclasses.asdict(self), **lists}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """The inverse of ``to_dict``; refuses unknown fields.

        Fields that an older file lacks get the values that its recipe had without them.
        """
        try:
            older: dict[str, Any] = {}
            if "archive_resize" not in data and data.get("templates", "paper") == "paper":
                older["templates"] = "inflected"
                data = {key: value for key, value in data.items() if key != "templates"}
            crf = data.get("crf", {})
            made = CRF(**crf) if isinstance(crf, Mapping) else crf
            return cls(**{**older, **data, "crf": made})
        except (TypeError, AttributeError) as error:
            raise RecipeError(f"this is not a recipe of this version ({error}).") from error

    @property
    def hash(self) -> str:
        """Sixteen hex digits of everything but the name."""
        import hashlib  # not above: `recoseg --help` lists the presets and needs no OpenSSL

        data = {key: value for key, value in self.to_dict().items() if key != "name"}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def preset(name: str) -> Recipe:
    """The preset called ``name``; an unknown name is a RecipeError that lists them."""
    if name not in PRESETS:
        raise RecipeError(f"no preset {name!r}; choose one of {', '.join(sorted(PRESETS))}.")
    return PRESETS[name]


PAPER = Recipe(
    name="paper",
    retrieval="clip:ViT-L-14-336/openai?decode=whole",
    dense="clip:RN50x16/openai?cells=cut",
    encoder="timm:deit_small_distilled_patch16_224.sin?cells=cut&positions=plain",
    archive_resize="bilinear",
    image_size=None,
    tiles=False,
    most_pixels=None,
    contenders=None,
)

# One CLIP in both roles and a self-supervised encoder. 448 is the multiple of both patch sizes, 16
# and 14, next to twice CLIP's native 224: no grid is stretched (docs/models.md).
MODERN = Recipe(
    name="modern",
    retrieval="clip:ViT-B-16/openai?dense=selfself",
    dense="clip:ViT-B-16/openai?dense=selfself",
    encoder="timm:vit_base_patch14_reg4_dinov2.lvd142m",
    templates="inflected",
    archive_size=448,
    image_size=448,
    centre=True,
    crf=CRF(temperature=0.1),
)

LITE = Recipe(
    name="lite",
    retrieval="lite",
    dense="lite",
    encoder="lite:16",
    cosegment="dense",
    templates="lite",
    k=30,
    archive_size=320,
    scales=(1.0, 3.0),
    visual_gain=1.0,
    centre=True,
    smooth=12.0,
    crf=CRF(temperature=0.05),
    confidence_temperature=0.04,
)

PRESETS = {recipe.name: recipe for recipe in (LITE, PAPER, MODERN)}
