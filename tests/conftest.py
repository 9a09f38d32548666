from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

import pytest

from tests.toys import Toy


@pytest.fixture
def toy() -> Toy:
    return Toy()
