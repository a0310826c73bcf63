"""`python -m stages`: the same command line as `tdn`."""

from stages.cli import main

main()
