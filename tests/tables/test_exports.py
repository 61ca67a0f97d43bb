"""What is exported is tested: every public name is in a table of makers, or names the file that tests it."""

from pathlib import Path

import pytest

from tests.tables import makers
from tests.tables.makers import ARGUMENTS, ELSEWHERE, FACES, table

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("face", FACES)
def test_every_exported_name_has_a_maker(face: str) -> None:
    missing = set(FACES[face].__all__) - set(table(face)) - set(ELSEWHERE)
    assert not missing, (
        f"discrete_lightning.{face} exports {', '.join(sorted(missing))}, which no table of tests makes: add how to build each "
        "to ARGUMENTS in tests/tables/makers.py, or, if it is no layer, loss, metric, callback or model, the file that tests "
        "it to ELSEWHERE"
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
