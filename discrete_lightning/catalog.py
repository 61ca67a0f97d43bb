"""The configs that come with the package: their folder, their names and their descriptions."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def config_root() -> Path:
    """The folder of configs: `_configs` inside an installed package, `configs` beside the package in a checkout."""
    installed = _PACKAGE / "_configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def config_names() -> list[str]:
    """Names of all configs, sorted: a path under the root without its suffix, such as `vq/quickstart`."""
    root = config_root()
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.glob("**/*.yaml"))


def describe(path: Path) -> str:
    """The first line of a config without its comment sign, or an empty string if that line is not a comment."""
    with path.open(encoding="utf-8") as file:
        first = file.readline().strip()
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def find_config(name: str) -> Path | None:
    """The file of the config called `name` (with or without `.yaml`), or None."""
    name = name.removesuffix(".yaml")
    return config_root() / f"{name}.yaml" if name in config_names() else None
