"""The command line: `discrete-lightning ls | cp | check | fit | validate | test | predict`.

Importing this package loads neither torch nor Lightning: `ls`, `cp`, `--help` and `--version` answer at once.
"""

from discrete_lightning.cli.entry import main

__all__ = ["main"]
