"""`python -m aitor` is the command `aitor`."""

from aitor.cli import main

__all__ = ()

if __name__ == "__main__":
    main()
