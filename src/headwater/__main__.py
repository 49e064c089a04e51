"""`python -m headwater` is the command `headwater`."""

from headwater.cli.main import run

run()
