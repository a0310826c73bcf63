"""`python -m stages`: the same command line as `tdn`."""

from stages.cli.main import main

main()
