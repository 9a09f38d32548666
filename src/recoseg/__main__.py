"""``python -m recoseg`` is the command line."""

from recoseg.cli import main

if __name__ == "__main__":
    main()
