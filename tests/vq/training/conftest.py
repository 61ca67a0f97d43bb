"""The command line's fixtures: `cli`, `toy`, and a separate working directory."""

from tests.cli.conftest import cli, toy, workplace  # noqa: F401
