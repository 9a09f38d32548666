"""Request and response schemas of the API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

Id = Annotated[str, Field(min_length=1, max_length=64)]
Share = Annotated[float, Field(ge=0, le=1)]
Colour = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]


class Problem(BaseModel):
    """Why a request was not served."""

    error: str


class Health(BaseModel):
    """Whether the server is well, and how busy."""

    status: Literal["ok"] = "ok"
    version: str
    model: str
    threads: int
    running: int
    waiting: int
    bound: int
    max_bytes: int
    max_pixels: int


class ConceptRow(BaseModel):
    """A concept of a bank."""

    name: str
    words: list[str]
    colour: Colour
    group: str = ""


class BankRow(BaseModel):
    """A bank and its concepts."""

    id: str
    name: str
    shipped: bool
    calibrated: bool
    temperature: float | None
    concepts: list[ConceptRow]


class Accepted(BaseModel):
    """Work was taken on; ask for the job."""

    job: str
    index: str | None = None


class ClassRow(BaseModel):
    """What became of one concept in an image."""

    index: int
    name: str
    colour: Colour
    area: Share
    confidence: Share


class Guess(BaseModel):
    """What a part of the pixels without a name is nearest to."""

    name: str
    area: Share


class SegmentResult(BaseModel):
    """A segmented image; its pictures lie under /api/results/{id}."""

    id: str
    width: int
    height: int
    bank: str
    seconds: float
    classes: list[ClassRow]
    unknown_index: int | None
    guesses: list[Guess]


class IndexResult(BaseModel):
    """A finished index."""

    index: str
    photos: int
    skipped: int


class DraftPhoto(BaseModel):
    """A photo that a draft was learnt from, as the square that the model saw."""

    photo: str
    name: str
    score: float | None
    seed: tuple[float, float]
    similarity: float
    example: bool


class DraftResult(BaseModel):
    """A concept that is in no bank yet."""

    draft: str
    name: str
    margin: float | None
    agreement: float
    warnings: list[str]
    photos: list[DraftPhoto]


class HitRow(BaseModel):
    """A photo that was found."""

    photo: str
    score: float
    name: str


class SearchResult(BaseModel):
    """Photos, best first."""

    hits: list[HitRow]


class CalibrateResult(BaseModel):
    """A bank whose concepts have thresholds."""

    bank: str


class JobRow(BaseModel):
    """A piece of work."""

    id: str
    kind: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    done: int
    total: int | None
    label: str
    seconds_left: float | None
    error: str | None
    index: str | None
    result: SegmentResult | DraftResult | IndexResult | SearchResult | CalibrateResult | None


class IndexRow(BaseModel):
    """An index and the folder that it is of."""

    id: str
    name: str
    photos: int
    model: str
    state: Literal["ready", "indexing", "partial"]
    root: str
    folder: str


class RootRow(BaseModel):
    """A folder that was allowed when the server was started."""

    id: str
    name: str


class FolderRow(BaseModel):
    """What lies directly in a folder."""

    path: str
    folders: list[str]
    photos: int


class IndexOrder(BaseModel):
    """What to index."""

    root: Id
    path: Annotated[str, Field(max_length=4096)] = ""
    name: Annotated[str, Field(max_length=80)] = ""


class SearchOrder(BaseModel):
    """What to look for."""

    index: Id
    query: Annotated[str, Field(min_length=1, max_length=500)]
    count: Annotated[int, Field(ge=1, le=200)] = 24


class SaveOrder(BaseModel):
    """Where a draft shall be kept."""

    bank: Annotated[str, Field(min_length=1, max_length=64)]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    replace: bool = False


class Saved(BaseModel):
    """Where a draft was put."""

    bank: str
    concept: str
