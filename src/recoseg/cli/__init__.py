"""The command line: one function per verb; results on stdout, everything else on stderr."""

from recoseg.cli.app import main

__all__ = ["main"]
