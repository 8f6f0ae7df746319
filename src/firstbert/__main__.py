"""`python -m firstbert`: the same as `firstbert`."""

from firstbert.cli import main

main()
