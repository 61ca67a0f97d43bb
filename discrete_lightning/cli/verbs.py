"""Verbs that families add: another name for a command, with added arguments and options.

A family describes its verbs in `<family>/verbs.toml`, which is read without importing the family:

    [decode]
    help = "turn codes back into images or sounds"
    command = "predict"                      # the command that it stands for
    arguments = ["--data=module.Class"]      # added to the command line
    options = {codes = {argument = "--data.path", metavar = "FILE", help = "..."}}     # passed as `argument`

An option is required, unless it has `optional = true`.
"""

import tomllib
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from discrete_lightning.cli.errors import MISUSE, CliError

PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Verb:
    """One entry of a verbs.toml."""

    help: str
    command: str
    arguments: list[str] = field(default_factory=list)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def usage(self) -> str:
        return " ".join(
            f"[--{name} {option['metavar']}]" if option.get("optional") else f"--{name} {option['metavar']}"
            for name, option in self.options.items()
        )

    @property
    def text(self) -> str:
        """What `--help` says of it: its usage, a colon, and what it does."""
        explained = "".join(f" ({option['metavar']}: {option['help']})" for option in self.options.values())
        return f"-c RUN {self.usage}: {self.help}{explained}"

    def expand(self, request: Namespace) -> list[str]:
        """The arguments of its command."""
        for name, option in self.options.items():
            if getattr(request, name) is None and not option.get("optional"):
                raise CliError(f"{request.name} needs {self.usage}: {option['help']}", MISUSE)
        given = {name: getattr(request, name) for name in self.options}
        chosen = [f"{self.options[name]['argument']}={value}" for name, value in given.items() if value is not None]
        return [*self.arguments, *chosen]


def family_verbs() -> dict[str, Verb]:
    """The verbs of all families, by name."""
    found = [tomllib.loads(file.read_text(encoding="utf-8")) for file in sorted(PACKAGE.glob("*/verbs.toml"))]
    return {name: Verb(**entry) for entries in found for name, entry in entries.items()}
