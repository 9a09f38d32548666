"""What is printed when the standard output is closed or full."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LIST = ("concept", "list", "everyday")
PROGRAM = "from recoseg.cli.app import main; main()"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")  # noqa: PTH110
def test_a_full_output_is_one_sentence():
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *LIST], stdout=full,
            stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "the results cannot be written to the standard output (No space left" in done.stderr


def test_a_closed_output_is_no_error():
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.stdout = None; {PROGRAM}", *LIST],
        stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
