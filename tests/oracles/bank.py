"""Steps 3 to 8 of the method written out pixel by pixel in float64: slow, and nothing shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Array = np.ndarray


def unit(x: Array) -> Array:
    norm = np.sqrt((x * x).sum())
    return x / norm if norm > 0 else x


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def shortlist(text: Array, embeddings: Mapping[str, Array], k: int) -> list[str]:
    """Step 3: ids of the k largest cosines, equal ones in the order of ids."""
    cosines = {id: float(unit(text) @ unit(vector)) for id, vector in embeddings.items()}
    return sorted(cosines, key=lambda id: (-cosines[id], id))[:k]


def bilinear(grid: Array, height: int, width: int) -> Array:
    """Resize (h, w), pixels as areas: the centre of output i lies at (i + 0.5) * h / H - 0.5."""
    out = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            y = max((row + 0.5) * grid.shape[0] / height - 0.5, 0)
            x = max((column + 0.5) * grid.shape[1] / width - 0.5, 0)
            top, left = int(y), int(x)
            below, right = min(top + 1, grid.shape[0] - 1), min(left + 1, grid.shape[1] - 1)
            v, u = y - top, x - left
            above = (1 - u) * grid[top, left] + u * grid[top, right]
            under = (1 - u) * grid[below, left] + u * grid[below, right]
            out[row, column] = (1 - v) * above + v * under
    return out


def saliency(
    dense: Array, features: Array, text: Array, contexts: Sequence[Array], gain: float | None
) -> Array:
    """Steps 5 and 6 for one image: (d1, h1, w1) and (d2, h, w) to (h, w)."""
    _, height, width = features.shape
    weights = np.ones((height, width))
    if gain is not None:
        coarse = np.zeros(dense.shape[1:])
        for row in range(dense.shape[1]):
            for column in range(dense.shape[2]):
                cosine = unit(dense[:, row, column]) @ unit(text)
                coarse[row, column] = sigmoid(gain * cosine)
        weights = bilinear(coarse, height, width)
    for row in range(height):
        for column in range(width):
            for context in contexts:
                cosine = unit(features[:, row, column]) @ unit(context)
                weights[row, column] *= 1 - sigmoid(cosine)
    return weights


def seeds(features: Sequence[Array], weights: Sequence[Array]) -> list[tuple[int, int]]:
    """Step 7: the best-supported pixel of each image, the first of equals."""
    rows = [[unit(p) for p in image.reshape(image.shape[0], -1).T] for image in features]
    found = []
    for pixels, image in zip(rows, features, strict=True):
        scores = []
        for u in pixels:
            support = [
                max(w * float(u @ q) for q, w in zip(others, weight.reshape(-1), strict=True))
                for others, weight in zip(rows, weights, strict=True)
            ]
            scores.append(sum(support) / len(support))
        best = next(i for i, s in enumerate(scores) if s >= max(scores) - 1e-6)
        found.append(divmod(best, image.shape[2]))
    return found


def reference(features: Sequence[Array], places: Sequence[tuple[int, int]]) -> Array:
    """Step 8."""
    total = sum(
        image[:, row, column] for image, (row, column) in zip(features, places, strict=True)
    )
    return unit(total / len(places))


def bank(
    concepts: Sequence[str],
    contexts: Sequence[str],
    embeddings: Mapping[str, Array],
    texts: Callable[[str], Array],
    encode: Callable[[str], tuple[Array, Array]],
    k: int,
    gain: float | None,
) -> dict[str, tuple[list[str], list[tuple[int, int]], Array]]:
    """Name to (ids, seeds, reference): contexts first, each with those before it eliminated."""

    def one(
        name: str, eliminated: Sequence[Array]
    ) -> tuple[list[str], list[tuple[int, int]], Array]:
        ids = shortlist(texts(name), embeddings, k)
        encoded = [encode(id) for id in ids]
        weights = [saliency(d, f, texts(name), eliminated, gain) for d, f in encoded]
        places = seeds([f for _, f in encoded], weights)
        return ids, places, reference([f for _, f in encoded], places)

    built = {}
    for name in contexts:
        built[name] = one(name, [built[earlier][2] for earlier in built])
    eliminated = [built[name][2] for name in contexts]
    for name in concepts:
        if name not in built:
            built[name] = one(name, eliminated)
    return {name: built[name] for name in concepts}
