"""The configs that come with the package: list them, find one by name, copy one."""

import difflib
from pathlib import Path

from discrete_lightning.cli.errors import MISUSE, CliError

_PACKAGE = Path(__file__).resolve().parents[1]


def config_root() -> Path:
    """The folder of configs: `_configs` inside an installed package, `configs` beside the package in a checkout."""
    installed = _PACKAGE / "_configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def config_names() -> list[str]:
    """Names of all configs, sorted: a path under the root without its suffix, such as `vq/quickstart`."""
    root = config_root()
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.glob("**/*.yaml"))


def find_config(name: str) -> Path | None:
    """The file of the config called `name` (with or without `.yaml`), or None."""
    name = name.removesuffix(".yaml")
    return config_root() / f"{name}.yaml" if name in config_names() else None


def unknown_config(name: str, looked_for: str = "a config of this name") -> CliError:
    """The error for a name that is not in the catalogue: it lists close ones and how to see all."""
    names = config_names()
    close = difflib.get_close_matches(name.removesuffix(".yaml"), names, n=3, cutoff=0.5)
    # A bare name such as `quickstart` is close to no full one: compare it with the last parts, too.
    close += [known for known in names if known.rpartition("/")[2] == name and known not in close]
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return CliError(f"{name!r}: {looked_for} was not found{hint} (`discrete-lightning ls` lists all)", MISUSE)


def describe(path: Path) -> str:
    """The first line of a config without its comment sign, or an empty string where that line is no comment."""
    with path.open(encoding="utf-8") as file:
        first = file.readline().strip()
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def list_configs() -> str:
    """One line a config: its name, and its first line."""
    names = config_names()
    if not names:
        raise CliError(f"no configs were found in {config_root()}: the installation is incomplete, install it again")
    width = max(map(len, names))
    root = config_root()
    return "\n".join(f"{name:<{width}}  {describe(root / f'{name}.yaml')}".rstrip() for name in names)


def copy_config(name: str, target: str) -> Path:
    """Copies the config `name` to the file `target` and returns its path.

    Raises:
        CliError: no config has the name, or `target` exists or cannot be written. Nothing is overwritten.
    """
    source = find_config(name)
    if source is None:
        raise unknown_config(name)
    path = Path(target)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8"))
    except FileExistsError:
        raise CliError(f"{target} exists and is not overwritten: give another file name, or remove it first") from None
    except OSError as error:
        raise CliError(f"{target} cannot be written ({error.strerror}): give the name of a file in a folder") from None
    return path
