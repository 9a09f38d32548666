"""Model ids: ``scheme:architecture/source?option=value``, and the paper's names for them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from recoseg.errors import UnknownModel

SCHEMES = ("lite", "clip", "timm")
ALIASES = {
    "RN50": "clip:RN50/openai",
    "RN101": "clip:RN101/openai",
    "RN50x4": "clip:RN50x4/openai",
    "RN50x16": "clip:RN50x16/openai",
    "RN50x64": "clip:RN50x64/openai",
    "ViT-B/32": "clip:ViT-B-32/openai",
    "ViT-B/16": "clip:ViT-B-16/openai",
    "ViT-L/14": "clip:ViT-L-14/openai",
    "ViT-L/14@336px": "clip:ViT-L-14-336/openai",
    "DeiT-S/16": "timm:deit_small_patch16_224.fb_in1k",
    "DeiT-S/16-SIN": "timm:deit_small_distilled_patch16_224.sin",
    "DINO-S/16": "timm:vit_small_patch16_224.dino",
    "DINO-S/8": "timm:vit_small_patch8_224.dino",
    "DINO-B/16": "timm:vit_base_patch16_224.dino",
    "DINOv2-S/14": "timm:vit_small_patch14_reg4_dinov2.lvd142m",
    "DINOv2-B/14": "timm:vit_base_patch14_reg4_dinov2.lvd142m",
    "DINOv3-S/16": "timm:vit_small_patch16_dinov3.lvd1689m",
    "DINOv3-B/16": "timm:vit_base_patch16_dinov3.lvd1689m",
}
# Finer maps of the embedded network, by stride, for comparing encoders.
LITE_MAPS = ("16",)


@dataclass(frozen=True)
class ModelId:
    """Parsed model id.

    Attributes:
        scheme: which backend, one of ``SCHEMES``.
        architecture: the backend's name for it, with timm's tag if there is one.
        source: a pretrained tag or a local path; empty for the backend's own choice.
        options: what follows the question mark.
    """

    scheme: str
    architecture: str = ""
    source: str = ""
    options: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        text = ":".join(part for part in (self.scheme, self.architecture) if part)
        text += f"/{self.source}" if self.source else ""
        pairs = "&".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{text}?{pairs}" if pairs else text

    @property
    def path(self) -> Path | None:
        """The source as a path if it is written as one or is there, else None."""
        path = Path(self.source).expanduser()
        written = "/" in self.source or path.suffix in SUFFIXES
        return path if self.source and (written or path.exists()) else None

    @property
    def revision(self) -> str:
        """Commit or tag of the hub's repository that is asked for; empty for its newest."""
        if self.options.get("revision") == "":
            raise UnknownModel(f"{self}: revision is a commit or a tag; write one or leave it out.")
        return self.options.get("revision", "")

    def option(self, name: str, choices: Iterable[str]) -> str:
        """The value of an option, by default the first choice; UnknownModel if it is none."""
        allowed = list(choices)
        value = self.options.get(name, allowed[0])
        if value not in allowed:
            raise UnknownModel(f"{self}: {name} must be one of {', '.join(allowed)}.")
        return value

    def refuse_options_but(self, *known: str) -> None:
        """Raise UnknownModel for an option that is not ``known``."""
        for name in self.options:
            if name not in known:
                options = ", ".join(known) or "none"
                raise UnknownModel(f"{self} has no option {name!r}; its options: {options}.")


SUFFIXES = frozenset({".pt", ".pth", ".bin", ".safetensors", ".ckpt", ".tar"})


def parse(text: str) -> ModelId:
    """Parse a model id or an alias.

    Raises:
        UnknownModel: it has no known scheme; the message lists what is near.
    """
    plain, options = _split_options(text)
    plain = ALIASES.get(plain, plain)
    scheme, colon, rest = plain.partition(":")
    if scheme == "lite" and (not colon or rest in LITE_MAPS):
        return ModelId("lite", rest, options=options)
    if scheme in ("clip", "timm") and rest:
        architecture, _, source = rest.partition("/")
        return ModelId(scheme, architecture, source, options)
    raise UnknownModel(
        f"no model {text!r}; {near(plain, ['lite', *ALIASES, *ALIASES.values()])}. Ids are lite, "
        "clip:ARCHITECTURE/TAG-OR-FILE and timm:ARCHITECTURE[/FILE]; `recoseg models` lists some."
    )


def near(name: str, names: Iterable[str]) -> str:
    """Suggest the nearest names in words, or the first few, without a full stop."""
    every = list(dict.fromkeys(names))
    folded = {candidate.casefold(): candidate for candidate in reversed(every)}
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
    if close:
        return f"near it are {', '.join(folded[c] for c in close)}"
    more = " ..." if len(every) > 6 else ""
    return f"there are {', '.join(every[:6])}{more}" if every else "there is none"


def _split_options(text: str) -> tuple[str, dict[str, str]]:
    plain, mark, tail = text.rpartition("?")
    if not mark or "=" not in tail:
        return text, {}
    pairs = [pair.partition("=") for pair in tail.split("&")]
    return plain, {key: value for key, _, value in pairs}
