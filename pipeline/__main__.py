"""`python -m pipeline` is `sernet`."""

from pipeline.cli import main

main()
