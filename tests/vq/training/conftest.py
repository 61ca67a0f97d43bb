"""The command line's fixtures: `cli`, `toy`, and a working directory of their own."""

from tests.cli.conftest import _workplace, cli, toy  # noqa: F401
