"""The registry of claims covers the pages, and `benchmarks.all` marks what does not hold."""

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import all as program
from benchmarks.claims import CLAIMS
from benchmarks.claims.claim import Claim
from benchmarks.claims.exempt import COMMANDS
from benchmarks.claims.judging import FAILS, HOLDS, UNCHECKED, Judge, Output, Verdict, run
from benchmarks.claims.pages import PAGES, README

ROOT = Path(__file__).parents[2]


def programs(text: str) -> list[str]:
    """The programs of benchmarks and recipes that a text calls: modules, and paths."""
    return re.findall(r"python (?:-m )?((?:benchmarks|recipes)[\w./]*\w)", text)


def rows(heads: str) -> Iterator[str]:
    """The rows of README's table whose first line is `heads`."""
    lines = iter((ROOT / README).read_text().splitlines())
    next(line for line in lines if line == heads)
    next(lines)
    yield from iter(lambda: next(lines), "")


def claim(quick: str = "python -c 'print(\"error 0.5\")'", **changes: object) -> Claim:
    made = Claim(
        "fake",
        {"README.md": "an error of 0.5"},
        quick,
        quick,
        ("error {NUMBER}",),
        lambda error: error < 1,
        "error {0}",
        limit=60,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("each", CLAIMS, ids=lambda each: each.name)
def test_a_claim_stands_where_it_says_and_its_programs_exist(each: Claim) -> None:
    for page, words in each.stands.items():
        assert page in PAGES
        assert words in (ROOT / page).read_text(), f"{page} has no longer: {words}"
    called = programs(f"{each.command} {each.quick}")
    assert called or each.command.startswith("discrete-lightning ")
    for name in called:
        path = ROOT / (name if name.endswith(".py") else name.replace(".", "/"))
        assert any(each.is_file() for each in (path, path.with_suffix(".py"), path / "__main__.py")), name
    for command in (each.command, each.quick):
        assert all(shlex.split(part)[0] in ("python", "discrete-lightning") for part in command.split(" && "))
    for pattern in each.reads:
        re.compile(pattern)


@pytest.mark.parametrize("each", [each for each in CLAIMS if each.results], ids=lambda each: each.name)
def test_what_the_full_command_printed_is_read_and_holds(each: Claim) -> None:
    numbers = each.numbers((ROOT / "benchmarks" / each.results).read_text())
    assert each.holds(*numbers)
    assert each.now.format(*numbers)


def test_names_are_unique() -> None:
    assert len({each.name for each in CLAIMS}) == len(CLAIMS)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_belongs_to_a_claim(page: str) -> None:
    claimed = {name for each in CLAIMS for name in programs(f"{each.command} {each.quick}")}
    assert not set(programs((ROOT / page).read_text())) - claimed - set(COMMANDS)


def test_what_is_exempt_is_on_a_page() -> None:
    named = {name for page in PAGES for name in programs((ROOT / page).read_text())}
    assert set(COMMANDS) <= named


@pytest.mark.parametrize(
    "heads", ["| config | what | result | time | command |", "| claim | figure | seeds, peers | command |"]
)
def test_every_row_of_readmes_tables_belongs_to_a_claim(heads: str) -> None:
    words = [each.stands[README] for each in CLAIMS if README in each.stands]
    bare = [row for row in rows(heads) if not any(each in row for each in words)]
    assert not bare


def test_numbers_are_read_in_order() -> None:
    made = claim(reads=("steps {NUMBER} of {NUMBER}", "error {NUMBER}", "rate {NUMBER}"))
    assert made.numbers("rate 3e-05\nsteps 14,336 of .5\nerror -1.25") == [14_336, 0.5, -1.25, 3e-5]
    with pytest.raises(ValueError, match="rate"):
        made.numbers("steps 1 of 2, error 3")


def test_a_claim_that_does_not_hold_is_marked_and_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    false = claim(name="false", holds=lambda error: error < 0.4)
    lines: list[str] = []
    assert program.report([claim(name="true"), false], Judge(program=printed("error 0.5")), lines.append) == 1
    text = "\n".join(lines)
    assert re.search(rf"true .* error 0.5 .* {HOLDS}", text)
    assert re.search(rf"false .* error 0.5 .* {FAILS}", text)
    assert "2 claims: 1 holds, 1 no longer holds, 0 not checked" in text
    assert program.report([claim()], Judge(program=printed("error 0.5")), lines.append) == 0


def printed(text: str, code: int = 0, timed_out: bool = False, calls: list[str] | None = None):  # type: ignore[no-untyped-def]
    """A program in the place of a process."""

    def call(command: str, limit: float | None) -> Output:
        if calls is not None:
            calls.append(command)
        return Output(text, code, timed_out, 1.0)

    return call


def judged(made: Claim, **output: object) -> Verdict:
    return Judge(program=printed(**{"text": "error 0.5", **output}))(made)  # type: ignore[arg-type]


def test_what_is_missing_or_too_slow_is_not_checked() -> None:
    missing = judged(claim(needs=("no-such-package==1.0",)))
    assert (missing.status, missing.now) == (UNCHECKED, "needs pip install no-such-package==1.0")
    data = judged(claim(needs=("data/no-such-data",)))
    assert data.status == UNCHECKED
    assert "no-such-data" in data.now
    late = Judge(program=printed("error 0.5"), seconds=0.0)(claim())
    assert late.status == UNCHECKED
    assert "time of all claims is over" in late.now
    slow = judged(claim(), timed_out=True)
    assert (slow.status, slow.now) == (UNCHECKED, "not over after 60 s")


def test_a_program_that_fails_or_prints_something_else_no_longer_holds() -> None:
    assert judged(claim(), code=1).status == FAILS
    assert judged(claim(codes=(0, 1)), code=1).status == HOLDS
    other = judged(claim(), text="mistake 0.5")
    assert other.status == FAILS
    assert "ends with mistake 0.5" in other.now


def test_another_version_of_a_peer_is_told() -> None:
    assert "torch is " in judged(claim(needs=("torch==0.1",))).now
    assert "torch is " not in judged(claim(needs=("torch==2",))).now


def test_claims_of_one_command_share_its_run() -> None:
    calls: list[str] = []
    judge = Judge(program=printed("error 0.5", calls=calls))
    assert [judge(claim()).seconds, judge(claim(name="other")).seconds] == [1.0, 0.0]
    assert len(calls) == 1


def test_commands_run_in_a_folder_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = 'python -c \'open("left", "w").write("7")\''
    done = run(f'{first} && python -c \'print("error", open("left").read())\'', 60)
    assert (done.text.strip(), done.code, done.timed_out) == ("error 7", 0, False)
    assert not list(tmp_path.iterdir())
    failed = run("python -c 'raise SystemExit(3)' && python -c 'print(1)'", 60)
    assert failed.code == 3
    assert failed.text == ""
    assert run("python -c 'import time; time.sleep(60)'", 0.2).timed_out


def test_the_list_names_each_claim(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["all", "--list"])
    program.main()
    text = capsys.readouterr().out
    assert all(f"\n{each.name}\n" in f"\n{text}" and each.quick in text for each in CLAIMS)


def test_a_pattern_that_no_claim_has_is_refused() -> None:
    with pytest.raises(SystemExit, match="no claim has 'nothing'"):
        program.chosen(CLAIMS, "nothing")
