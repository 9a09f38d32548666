"""Self-contained HTML pages with embedded style and pictures."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoseg._version import VERSION
from recoseg.errors import ReportError
from recoseg.io import durable
from recoseg.io.images import RGB, encode_image

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parents[1] / "data"
FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
NOTHING = "\N{EN DASH}"


def render(template: str, title: str, values: Mapping[str, Any]) -> str:
    """The page of a template of ``data/``."""
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    page = _environment().get_template(template)
    return page.render(title=title, css=mark_trusted(css), version=VERSION, **values)


def write(path: Path, html: str) -> Path:
    """Write a page, whole or not at all; ReportError if its folder does not exist."""
    if not path.parent.is_dir():
        raise ReportError(f"the folder {path.parent} does not exist; make it first.")
    durable.write(path, html.encode("utf-8", "replace"))
    return path


def mark_trusted(markup: str) -> str:
    """Mark ``markup`` as safe, so that it is not escaped; only for our own drawings."""
    from markupsafe import Markup

    return Markup(markup)


def embed_file(path: Path, folder: Path) -> str:
    """The picture file ``path`` as a ``data:`` address.

    Raises:
        ReportError: it is missing, no JPEG, PNG or WebP, or outside ``folder``, from where a
            report of somebody else's must not take files.
    """
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ReportError(f"{path} lies outside the report's folder; copy it into {folder}.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ReportError(
            f"{path} cannot be read ({error.strerror}); keep the gallery beside report.json, or "
            "write both again with `recoseg evaluate`."
        ) from error
    return data_url(data, _kind(data, path))


def embed_image(image: RGB, quality: int = 80) -> str:
    """A uint8 (H, W, 3) image as the ``data:`` address of a JPEG."""
    return data_url(encode_image(image, "JPEG", quality=quality), "JPEG")


def data_url(data: bytes, kind: str) -> str:
    """The bytes of a picture as a ``data:`` address."""
    return f"data:{FORMATS[kind]};base64,{base64.b64encode(data).decode()}"


def percent(value: float | None) -> str:
    """A fraction in per cent with one digit behind the point, as the paper prints it."""
    return NOTHING if value is None else f"{100 * value:.1f}"


def plain(value: float | str | None) -> str:
    """A number without needless digits, or the text itself."""
    if value is None or isinstance(value, str):
        return NOTHING if value is None else value
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"


def _kind(data: bytes, path: Path) -> str:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
            return str(image.format)
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise ReportError(
            f"{path} is no JPEG, PNG or WebP picture, or is damaged; write the report again."
        ) from error


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent,
        plain=plain,
        printed=lambda value: NOTHING if value is None else f"{value:.1f}",
        score=lambda value: NOTHING if value is None else f"{value:.2f}",
        short=lambda value: f"{value:.2g}",
        words=lambda name: name.replace("_", " ").replace(".", ", "),
        capitalize_first=lambda text: text[:1].upper() + text[1:],
    )
    return environment
