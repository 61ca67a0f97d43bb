"""What `-c` may name: a config of the package, a file, or the folder of an earlier run. `ls` and `cp`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discrete_lightning import catalog
from discrete_lightning.cli.errors import MISUSE, CliError, did_you_mean, one_line
from discrete_lightning.cli.guards.config_text import read_config, root_node

CONFIG_FILE = "config.yaml"
CHECKPOINTS = "checkpoints"
CONFIG = "config"  # the key of a config that names another one
_LONGEST = 1000
_STAMPED = re.compile(r"\d{8}-\d{6}(-.*)?")


@dataclass(frozen=True)
class Source:
    """One config: its file, the name of its runs, and the folder of the run that wrote it, if one did."""

    path: Path
    name: str
    run: Path | None = None


def list_configs() -> str:
    """One line a config: its name, and its first line."""
    names, root = catalog.config_names(), catalog.config_root()
    if not names:
        raise CliError(f"no configs were found in {root}: the installation is incomplete, install it again")
    width = max(map(len, names))
    return "\n".join(f"{name:<{width}}  {catalog.describe(root / f'{name}.yaml')}".rstrip() for name in names)


def copy_config(name: str, target: str) -> str:
    """Copies the config `name` to the file `target`, which must not exist, and says how to run it."""
    source, path = catalog.find_config(name), Path(target)
    if source is None:
        raise _unknown(name, "a config of this name")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8"))
    except FileExistsError:
        raise CliError(f"{target} exists and is not overwritten: give another file name, or remove it first") from None
    except OSError as error:
        raise CliError(f"{target} cannot be written ({error.strerror}): give the name of a file in a folder") from None
    return f"wrote {path}; run it with: discrete-lightning fit -c {path}"


def find_source(value: str) -> Source:
    """Finds what `-c value` means; what is on the disk comes before the package's configs.

    Raises:
        CliError: `value` is no file, no run folder and no config's name, or the file is no mapping in YAML.
    """
    source = _find(value)
    from discrete_lightning.cli.messages.places import check_keys_once, shown

    text = read_config(source.path, shown(source.path))
    content = _mapping(text, shown(source.path))
    check_keys_once(source.path, text)
    _check_parts(content, {source.path.resolve()})
    return source


def _mapping(text: str, name: str) -> dict[Any, Any]:
    """What the text of a config holds; raises CliError if it is no mapping."""
    import yaml  # type: ignore[import-untyped]  # `ls` and `cp` do without

    root_node(text, name)
    try:
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:  # a tag, a key that is a list
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise CliError(f"{name}{line}: a config cannot hold this: {error.problem}", MISUSE) from None
    except ValueError as error:  # a date or a number that is none
        raise CliError(f"{name}: a config cannot hold this: {one_line(error)[:200]}", MISUSE) from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        raise CliError(
            f"{name} is no config: it holds {found}, and a config is a mapping such as `model: ...`",
            MISUSE,
        )
    for key in content:
        if not isinstance(key, str):
            raise CliError(f"{name} is no config: its keys are names such as `model`, and it has {key!r}", MISUSE)
    return content


def _check_parts(value: Any, above: set[Path], key: str = "") -> None:
    """Raises CliError if a file that is a part of the config, as in `model: part.yaml`, is no mapping, or part of itself."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inside:
        _check_parts(each, above, str(name))
    if isinstance(value, str) and len(value) < _LONGEST and (value.endswith((".yaml", ".yml")) or key == CONFIG):
        path = Path(value)
        if "\0" in value or not path.is_file():
            return
        if path.resolve() in above:
            raise CliError(f"{value} is a part of itself", MISUSE)
        _check_parts(_mapping(read_config(path, value), value), above | {path.resolve()})


def _find(value: str) -> Source:
    path = Path(value)
    if "\0" in value or len(value) > _LONGEST:
        raise CliError(f"{value[:40]!r}... is the name of no config: it has {len(value):,} letters", MISUSE)
    if path.is_file():
        # The config.yaml of a run stands for the run, so that its checkpoints are found.
        run = path.parent if path.name == CONFIG_FILE and (path.parent / CHECKPOINTS).is_dir() else None
        return Source(path.resolve(), _run_name(run) if run else path.stem, run)
    if (path / CONFIG_FILE).is_file():
        return Source((path / CONFIG_FILE).resolve(), _run_name(path), path)
    if packaged := catalog.find_config(value):
        return Source(packaged, value.removesuffix(".yaml").replace("/", "-"))
    if path.is_dir():
        raise CliError(f"the folder {value} is no run folder: it has no {CONFIG_FILE}", MISUSE)
    raise _unknown(value, "a config of this name, a file or a run folder")


def _unknown(name: str, looked_for: str) -> CliError:
    names = catalog.config_names()
    same = [known for known in names if known.rpartition("/")[2] == name]  # a bare name such as `quickstart`
    hint = f"; did you mean {' or '.join(same)}?" if same else did_you_mean(name.removesuffix(".yaml"), names, most=3)
    return CliError(f"{name!r}: {looked_for} was not found{hint} (`discrete-lightning ls` lists all)", MISUSE)


def _run_name(run: Path) -> str:
    """A repeated run is called like the first: run folders are `<name>/<time stamp>`, unless `--run_dir` named one."""
    run = run.resolve()
    return run.parent.name if _STAMPED.fullmatch(run.name) else run.name
