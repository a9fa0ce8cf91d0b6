"""`python -m stackwright` is the command `stackwright`."""

from __future__ import annotations

from stackwright.cli import main

if __name__ == "__main__":
    main()
