"""Verbs that families add: another name for a command, with added arguments and options.

A family describes its verbs in `<family>/verbs.toml`, which is read without importing the family:

    [decode]
    help = "turn codes back into images"
    command = "predict"                      # the command that it stands for
    arguments = ["--data=module.Class"]      # added to the command line
    options = {codes = {argument = "--data.path", metavar = "FILE", help = "..."}}     # required; passed as `argument`
"""

import tomllib
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path

from discrete_lightning.cli.errors import MISUSE, CliError

PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Verb:
    """One entry of a verbs.toml."""

    help: str
    command: str
    arguments: list[str] = field(default_factory=list)
    options: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def usage(self) -> str:
        return " ".join(f"--{name} {option['metavar']}" for name, option in self.options.items())

    @property
    def text(self) -> str:
        """What `--help` says of it: its usage, a colon, and what it does."""
        explained = "".join(f" ({option['metavar']}: {option['help']})" for option in self.options.values())
        return f"-c RUN {self.usage}: {self.help}{explained}"

    def expand(self, request: Namespace) -> list[str]:
        """The arguments of its command."""
        for name, option in self.options.items():
            if getattr(request, name) is None:
                raise CliError(f"{request.name} needs {self.usage}: {option['help']}", MISUSE)
        given = [f"{each['argument']}={getattr(request, name)}" for name, each in self.options.items()]
        return [*self.arguments, *given]


def family_verbs() -> dict[str, Verb]:
    """The verbs of all families, by name."""
    found = [tomllib.loads(file.read_text(encoding="utf-8")) for file in sorted(PACKAGE.glob("*/verbs.toml"))]
    return {name: Verb(**entry) for entries in found for name, entry in entries.items()}
