"""What is exported is tested: every public name is in a table of makers, or names the file that tests it."""

from pathlib import Path

import pytest
import torch

from tests.references import every_estimator
from tests.references.inputs import seeded
from tests.tables import makers
from tests.tables.makers import ARGUMENTS, ELSEWHERE, FACES, is_quantizer, table
from tests.vq.quantizers.makers import ALL

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("face", FACES)
def test_every_exported_name_has_a_maker(face: str) -> None:
    names = {name for name in FACES[face].__all__ if not is_quantizer(getattr(FACES[face], name))}
    missing = names - set(table(face)) - set(ELSEWHERE)
    assert not missing, (
        f"discrete_lightning.{face} exports {', '.join(sorted(missing))}, which no table of tests makes: add how to build each "
        "to ARGUMENTS in tests/tables/makers.py, or, if it is no layer, loss, metric, callback or model, the file that tests "
        "it to ELSEWHERE"
    )


def missing_quantizers() -> set[str]:
    exported = {name for name in FACES["nn"].__all__ if is_quantizer(getattr(FACES["nn"], name))}
    return exported - {type(make()).__name__ for make in ALL.values()} - set(ELSEWHERE)


def test_every_exported_quantiser_has_a_maker() -> None:
    missing = missing_quantizers()
    assert not missing, (
        f"no table of tests makes {', '.join(sorted(missing))}: add how to build each, with 8 codes of dimension 4, to SINGLE "
        "in tests/vq/quantizers/makers.py, or to ALL if it is made of other quantisers"
    )


@every_estimator.each_pathwise
def test_relaxed_estimators_are_listed(estimator: every_estimator.Estimator) -> None:
    sample = estimator(torch.zeros(50, 3), 1.0, seeded(0))
    relaxed = not ((sample == 0) | (sample == 1)).all()
    assert relaxed == (estimator in every_estimator.SOFT), (
        f"SOFT in tests/references/every_estimator.py lists the estimators whose samples are mixtures: {estimator} "
        + ("gives mixtures and is not there" if relaxed else "gives zeros and ones and is there")
    )


def test_nothing_is_listed_that_is_not_exported() -> None:
    exported = {name for face in FACES.values() for name in face.__all__}
    assert not (set(ARGUMENTS) | set(ELSEWHERE)) - exported
    assert not set(ARGUMENTS) & set(ELSEWHERE)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_files_of_what_is_tested_elsewhere_are_there(name: str) -> None:
    assert (ROOT / ELSEWHERE[name]).exists()


def test_a_new_name_is_found_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class NewLayer(makers.nn.Module):
        def __init__(self, size: int) -> None:
            super().__init__()

    monkeypatch.setattr(FACES["nn"], "NewLayer", NewLayer, raising=False)
    monkeypatch.setattr(FACES["nn"], "__all__", [*FACES["nn"].__all__, "NewLayer"])
    with pytest.raises(
        AssertionError, match=r"discrete_lightning\.nn exports NewLayer, .* add how to build each to ARGUMENTS"
    ):
        test_every_exported_name_has_a_maker("nn")
    NewLayer.__init__ = lambda self: None  # type: ignore[method-assign,misc,assignment]
    test_every_exported_name_has_a_maker("nn")
    assert table("nn")["NewLayer"] is NewLayer


def test_a_new_quantiser_is_found_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    new = type("NewQuantizer", (FACES["nn"].Codebook,), {})
    monkeypatch.setattr(FACES["nn"], "NewQuantizer", new, raising=False)
    monkeypatch.setattr(FACES["nn"], "__all__", [*FACES["nn"].__all__, "NewQuantizer"])
    assert missing_quantizers() == {"NewQuantizer"}
