"""Imports everything once and forks one writer per order, to be killed by test_index_kill.

Images are encoded one by one, so that a row does not depend on what else is in its batch, and
slowly. Small shards let a kill meet every step. An order is a JSON line: source, out, how many
files are committed at once, and the line of the writing code to die at, if any.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch

from recoseg.index import journal, update
from recoseg.index.index import Index
from tests.toys import Toy

WRITING = ("ingest.py", "journal.py", "shards.py", "ledger.py", "durable.py", "update.py")
PACKAGE = str(Path(update.__file__).parents[1])


class OneByOne(Toy):
    def embed_images(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.cat([Toy.embed_images(self, image[None]) for image in batch])


class Slow(OneByOne):
    def embed_images(self, batch: torch.Tensor) -> torch.Tensor:
        time.sleep(0.01)
        return super().embed_images(batch)


def die_at_line(number: int) -> None:
    """Kill this process before a line of the code that writes, counted as it runs."""
    left = number

    def trace(frame, event, _argument):
        nonlocal left
        path = frame.f_code.co_filename
        if not path.startswith(PACKAGE) or not path.endswith(WRITING):
            return None
        left -= event == "line"
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def work(source: str, out: str, flush_rows: int, dies: int | None) -> None:
    journal.FLUSH_ROWS, update.SHARD_ROWS = flush_rows, 23
    model = Slow() if dies is None else OneByOne()
    if dies is not None:
        die_at_line(dies)
    Index.build(source, out, model=model, batch_size=2, workers=2, progress=False)


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            try:
                torch.set_num_threads(1)  # before there are threads (storms.begun)
                work(*json.loads(line))
            except BaseException:
                os._exit(1)
            os._exit(0)
        print(process, flush=True)
        print(os.waitpid(process, 0)[1], flush=True)


if __name__ == "__main__":
    main()
