"""Index whose searches are answered by a vector server."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recoseg.errors import IndexMismatch, ServerError
from recoseg.index import pages, search
from recoseg.index.index import Hit, Index
from recoseg.servers import addresses
from recoseg.servers.server import VectorServer

REMEDY = "bring it up to date with `recoseg index sync`"


class ServedIndex(Index):
    """An index like any other, but for who searches it: pass it wherever an index is taken.

    The server says which images are near, approximately; their cosines are computed from the
    index's own vectors.
    """

    def __init__(self, index: Index, server: VectorServer) -> None:
        super().__init__(index.path, index._manifest, index._verify)
        self.server = server

    @classmethod
    def of(cls, index: Index, address: str) -> ServedIndex:
        """An index and the address of its server, as ``addresses.connect`` takes it.

        Raises:
            InputError: the address has no form that is known, or a package is missing.
            ServerError: the server cannot be reached.
        """
        return cls(index, addresses.connect(address, index))

    def search(
        self, queries: Tensor | NDArray[np.floating], k: int, *, exclude: Collection[str] = ()
    ) -> list[list[Hit]]:
        """About the k images of largest cosine with each query; arguments as ``Index.search``.

        Raises:
            ServerError: the server cannot be reached, or its vectors are not those of the index.
            IndexMismatch: it holds vectors of another model.
        """
        vectors = search.check_queries(queries, k, self.dim, self.model_id)
        self._require_current()
        left_out = frozenset(exclude)
        found, _ = self.server.nearest(vectors.numpy(), k + len(left_out))
        answers = []
        for query, ids in zip(vectors.double().numpy(), found, strict=True):
            kept = [id for id in ids if id not in left_out]
            scores = self.vectors(kept).astype(np.float64) @ query
            hits = [Hit(id, float(score)) for id, score in zip(kept, scores, strict=True)]
            answers.append(sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k])
        return answers

    def _require_current(self) -> None:
        held = self.server.state()
        if held is None:
            raise ServerError(f"{self.server.where} holds nothing of {self.path}; {REMEDY}.")
        if (held.fingerprint, held.dim) != (self.fingerprint, self.dim):
            raise IndexMismatch(
                f"{self.server.where} holds vectors of another model than {self.path}; choose "
                "another name (#NAME at the end of the address), or replace them with `recoseg "
                "index sync --replace`."
            )
        if held.digest is None:
            raise ServerError(f"{self.server.where} holds a part of {self.path}; {REMEDY}.")
        if held.seal != pages.state(self) and held.digest != self.hash:
            raise ServerError(
                f"{self.path} was changed since {self.server.where} was brought up to date; "
                f"{REMEDY.replace('it', 'the server', 1)}."
            )
