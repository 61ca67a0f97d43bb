"""The command line's fixtures: `cli`, `toy`, and a working directory of their own."""

from tests.cli.conftest import cli, toy, workplace  # noqa: F401
