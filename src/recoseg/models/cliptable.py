"""Open_clip's tables of pretrained weights, by tag and by file digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recoseg.errors import UnknownModel
from recoseg.models import weights
from recoseg.models.ids import ModelId, near
from recoseg.models.weights import PublishedWeights

# The names under which open_clip publishes weights on the hub, the better first.
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
# What the hub's own tokenizers and text towers are made of, each with a stand-in.
TOKENIZER = (("tokenizer.json", "spiece.model"), ("tokenizer_config.json",))
TEXT_CONFIG = (("config.json",),)


def publication(id: ModelId) -> PublishedWeights:
    """Where open_clip's own table says that a tag's weights are.

    Raises:
        UnknownModel: it has no such architecture or tag.
    """
    from open_clip.pretrained import list_pretrained_tags_by_model

    check_architecture(id.architecture)
    config = pretrained_config(id)
    if not config:
        tags = near(id.source, list_pretrained_tags_by_model(id.architecture))
        raise UnknownModel(
            f"{id}: {id.architecture} has no pretrained tag {id.source!r} and there is no such "
            f"file; {tags}."
        )
    repository, _, file = config.get("hf_hub", "").rpartition("/")
    safe = (f"{Path(file).stem}.safetensors", file) if file else FILES
    url = config.get("url", "")
    files = safe if repository else ()
    return PublishedWeights(str(id), files, repository, url, known_digest(url), id.revision)


def tokenizer_files(id: ModelId) -> list[PublishedWeights]:
    """Files that an architecture's text side takes from the hub; none for CLIP's own tokenizer."""
    import open_clip

    text = open_clip.get_model_config(id.architecture)["text_cfg"]
    wanted = {"hf_tokenizer_name": TOKENIZER, "hf_model_name": TEXT_CONFIG}
    return [
        PublishedWeights(str(id), files, text[key])
        for key, groups in wanted.items()
        if text.get(key)
        for files in groups
    ]


def check_architecture(name: str) -> None:
    """Raise UnknownModel, with similar names, unless open_clip has the architecture."""
    import open_clip

    if open_clip.get_model_config(name) is None:
        raise UnknownModel(
            f"open_clip has no architecture {name!r}; {near(name, open_clip.list_models())}."
        )


def pretrained_config(id: ModelId) -> dict[str, Any]:
    """Open_clip's configuration of a pretrained tag; empty if it has no such tag."""
    from open_clip.pretrained import get_pretrained_cfg

    return dict(get_pretrained_cfg(id.architecture, id.source)) if id.source else {}


def known_digest(url: str) -> str:
    """The prefix of a file's sha256 that its URL contains; empty without one."""
    if "openaipublic" in url:
        return url.split("/")[-2]
    return Path(url).stem.rpartition("-")[2] if "mlfoundations" in url else ""


def recognise_file(file: Path) -> tuple[str, dict[str, Any]]:
    """Architecture and configuration of a published file, identified by its sha256."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained

    if not file.is_file():
        return "", {}
    found = weights.digest(file)
    for architecture, tag in list_pretrained():
        config: dict[str, Any] = get_pretrained_cfg(architecture, tag)
        known = known_digest(config.get("url", ""))
        if known and found.startswith(known):
            return architecture, config
    return "", {}


def is_openai_file(file: Path) -> bool:
    """Whether a file's whole sha256 is that of one of OpenAI's own files."""
    from open_clip import get_pretrained_url, list_openai_models

    found = weights.digest(file)
    return any(known_digest(get_pretrained_url(a, "openai")) == found for a in list_openai_models())
