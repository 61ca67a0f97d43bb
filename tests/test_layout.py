"""The layout of the package: contracts between its parts that can fail, lazy faces, files that stay small."""

import copy
import importlib
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import grimp
import pytest
from importlinter.api import read_configuration
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.independence import IndependenceContract
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "discrete_lightning"
FACES = sorted(str(stub.relative_to(ROOT).with_suffix("")).replace("/", ".") for stub in PACKAGE.rglob("*.pyi"))
FACES = [name.removesuffix(".__init__") for name in FACES]
FAMILIES = sorted(path.parent.name for path in PACKAGE.glob("*/training"))


# Contracts

KINDS = {
    "layers": LayersContract,
    "independence": IndependenceContract,
    "protected": ProtectedContract,
    "forbidden": ForbiddenContract,
}
LAYERS = "imports point down; no family imports another; nothing in the core imports a family"
INDEPENDENT = "families are independent"
FACE = "faces are for users: nothing inside imports one"
LIGHTNING = "Lightning, W&B and configuration stay in training/, data/ and cli/"
TORCH_PART = "the torch part of a family does not know its Lightning part"
TORCH_ALONE = "functional and estimators know torch and numpy alone, schedules the standard library"

# (importer, imported), without the package's name where it is inside; the contracts that this import breaks
FORBIDDEN: dict[tuple[str, str], set[str]] = {
    ("layers.diversity", "vq.quantizer"): {LAYERS},  # of the families, vq alone uses it
    ("functional.entropy", "estimators.softmax"): {LAYERS},
    ("training.quiet", "vae.kl_to_prior"): {LAYERS},
    ("vq.quantizer", "cli.entry"): {LAYERS},
    ("vq.quantizer", "vae.kl_to_prior"): {LAYERS, INDEPENDENT},  # layers hold it, too: they say that it points sideways
    ("nas.one_of", "design.problem"): {LAYERS, INDEPENDENT},
    ("cli.entry", "nn"): {FACE},
    ("cli.entry", "oracles"): {FACE},
    ("layers.temperature", "lightning"): {LIGHTNING},
    ("vq.quantizer", "lightning"): {LIGHTNING},
    ("nas.one_of", "wandb"): {LIGHTNING},
    ("distributed", "omegaconf"): {LIGHTNING},
    ("vq.quantizer", "vq.training.autoencoder"): {TORCH_PART},
    ("design.problem", "design.training.designer"): {TORCH_PART},
    ("functional.entropy", "torchmetrics"): {TORCH_ALONE},
    ("estimators.softmax", "torchmetrics"): {TORCH_ALONE},
    ("schedules", "torchmetrics"): {TORCH_ALONE},
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("discrete_lightning", include_external_packages=True, cache_dir=None)


@pytest.fixture(scope="module")
def contracts() -> dict[str, Any]:
    found = read_configuration(str(ROOT / "pyproject.toml"))
    session = found["session_options"]
    return {each["name"]: KINDS[each["type"]](each["name"], session, each) for each in found["contracts_options"]}


def broken(contracts: dict[str, Any], graph: grimp.ImportGraph) -> set[str]:
    """Names of the contracts that do not hold for a graph of imports."""
    checks = {name: each.check(copy.deepcopy(graph), verbose=False) for name, each in contracts.items()}
    return {name for name, check in checks.items() if not check.kept}


def test_contracts_hold(contracts: dict[str, Any], graph: grimp.ImportGraph) -> None:
    assert not broken(contracts, graph)


def test_each_contract_is_tried(contracts: dict[str, Any]) -> None:
    assert set().union(*FORBIDDEN.values()) == set(contracts), (
        "add an import that the new contract forbids to FORBIDDEN"
    )


@pytest.mark.parametrize("pair", FORBIDDEN, ids=" imports ".join)
def test_a_forbidden_import_breaks_its_contract_and_no_other(
    contracts: dict[str, Any], graph: grimp.ImportGraph, pair: tuple[str, str]
) -> None:
    inside = [f"discrete_lightning.{name}" for name in pair]
    importer, imported = (
        name if name in graph.modules else outside for name, outside in zip(inside, pair, strict=True)
    )
    assert {importer, imported} <= graph.modules, "a module of this test was renamed"
    changed = copy.deepcopy(graph)
    changed.add_import(importer=importer, imported=imported)
    assert broken(contracts, changed) == FORBIDDEN[pair]


def test_independence_names_all_families(contracts: dict[str, Any]) -> None:
    named = contracts[INDEPENDENT].contract_options["modules"]
    assert set(named) == {f"discrete_lightning.{family}" for family in FAMILIES}, (
        "the second contract of pyproject.toml lists all families"
    )


def test_a_folder_that_no_layer_names_is_refused(contracts: dict[str, Any], graph: grimp.ImportGraph) -> None:
    changed = copy.deepcopy(graph)
    changed.add_module("discrete_lightning.new_folder")
    assert broken(contracts, changed) == {LAYERS}


# Faces


def loaded_by(code: str) -> set[str]:
    """Modules that a fresh interpreter has loaded after running `code`."""
    code = f"{code}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_a_face_loads_nothing_until_a_name_is_asked_for() -> None:
    assert {"vq", "vae", "nas", "design"} <= set(FAMILIES)
    before, after = (
        loaded_by("import discrete_lightning.nn"),
        loaded_by("from discrete_lightning.nn import Temperature, RelaxedCategorical"),
    )
    assert "torch" not in before
    assert "discrete_lightning.layers.temperature" in after
    for loaded in (before, after):
        heavy = {"lightning", "torchmetrics", "wandb", *(f"discrete_lightning.{name}" for name in FAMILIES)}
        assert not heavy & loaded


@pytest.mark.parametrize("name", FACES)
def test_the_stub_is_the_only_list_of_a_face(name: str) -> None:
    face: Any = importlib.import_module(name)
    path = Path(face.__file__)
    lines = path.with_suffix(".pyi").read_text().splitlines()
    found = [re.fullmatch(r"from (discrete_lightning[\w.]+) import (\w+) as \2", line) for line in lines if line]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if not match]
    homes = {match[2]: match[1] for match in found if match}
    assert len(homes) == len(found), "a name stands twice"
    assert set(face.__all__) == set(homes)
    assert set(dir(face)) >= set(homes)
    assert "import " not in path.read_text().replace("from discrete_lightning._lazy import lazy_face", "")
    for attribute, home in homes.items():
        assert home not in FACES
        assert getattr(face, attribute) is getattr(importlib.import_module(home), attribute)


@pytest.mark.parametrize("name", FACES)
def test_a_name_that_a_face_does_not_have(name: str) -> None:
    with pytest.raises(ImportError, match=f"cannot import name 'NoSuchName' from '{name}'"):
        exec(f"from {name} import NoSuchName")
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'NoSuchName'"):
        _ = importlib.import_module(name).NoSuchName


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("nn.Weight", "nn.LossWeight"),
        ("nn.Choice", "nas.ArchitectureChoice"),
        ("nn.derive", "nas.derive"),
        ("nn.held", "nas.hold_architecture"),
        ("functional.nearest_code", "vq.functional.nearest_code"),
        ("functional.finite_scalar_remainder", "vq.functional.finite_scalar_residual"),
        ("callbacks.ScalarAnnealing", "training.annealing.Annealing"),
        ("constraints.keep", "design.constraints.fix_all_but"),
    ],
)
def test_a_former_name_is_found_and_says_where_it_is_now(former: str, now: str) -> None:
    (face, name), (home, new) = former.rsplit(".", 1), now.rsplit(".", 1)
    module = importlib.import_module(f"discrete_lightning.{face}")
    with pytest.warns(DeprecationWarning, match=rf"discrete_lightning\.{former} is discrete_lightning\.{now} now"):
        found = getattr(module, name)
    assert found is getattr(importlib.import_module(f"discrete_lightning.{home}"), new)
    assert name not in module.__all__
    assert name not in dir(module) or face == "functional"


# Sizes


def lengths(folder: Path) -> dict[str, int]:
    """Number of lines of each file of the package's own code."""
    files = [path for path in folder.rglob("*.py") if not {"_configs", "_recipes"} & set(path.parts)]
    return {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}


def test_files_are_small() -> None:
    found = lengths(PACKAGE)
    assert not {name: length for name, length in found.items() if length > 320}
    assert statistics.median(found.values()) < 100


def test_the_command_line_is_thin() -> None:
    found = lengths(PACKAGE / "cli")
    messages = {name: length for name, length in found.items() if "/messages/" in name}
    assert sum(messages.values()) <= 800  # of mistakes: what was given, where, what is right
    guards = {name: length for name, length in found.items() if "/guards/" in name}
    assert sum(guards.values()) <= 400  # what a config may hold
    assert sum(found.values()) - sum(messages.values()) - sum(guards.values()) <= 1_100
