from __future__ import annotations

import os
import signal

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

import pytest

from tests.toys import Toy


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture(autouse=True, scope="session")
def _interruptible():
    # A shell starts what it puts in the background with Ctrl-C ignored, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
