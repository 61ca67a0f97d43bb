"""Oracles of ledidi, tangermeme and NucleoBench: stand-ins written as theirs, and theirs where they are installed."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.cli import main
from discrete_lightning.design import (
    DesignProblem,
    Edit,
    FromNothing,
    GradientSearch,
    Maximize,
    Minimize,
    Polish,
    Target,
)
from discrete_lightning.design.alphabet import DNA
from discrete_lightning.design.oracles import (
    BlackBox,
    LedidiOracle,
    NucleoBenchOracle,
    SequenceCNN,
    TangermemeOracle,
    WeightedSum,
)
from discrete_lightning.estimators import LeaveOneOut

LENGTH = 12


class Tasks(nn.Module):
    """As a model of ledidi or tangermeme: outputs (batch, tasks) of one-hot sequences, and of further arguments."""

    def __init__(self, tasks: int = 3, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.head, self.dropout = nn.Conv1d(4, 8, 5), nn.Linear(8, tasks), nn.Dropout(0.5)

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        y = self.head(self.dropout(self.conv(x).relu().mean(-1)))
        return y if scale is None or shift is None else scale * y + shift


class Joined(nn.Module):
    """As ledidi's DesignWrapper."""

    def __init__(self, models: list[nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, X: Tensor) -> Tensor:
        return torch.cat([model(X).clone() for model in self.models], dim=-1)


class Counts(nn.Module):
    """As CountSubstringModel of NucleoBench: its `__call__` takes strings, and it is minimised."""

    def __init__(self, vocab: str = "ACGT", wrong: bool = False) -> None:
        super().__init__()
        self.vocab, self.wrong = list(vocab), wrong
        self.weight = nn.Parameter(torch.tensor([0.5, -1.0, 2.0, 0.25]))

    def forward(self, x: Tensor) -> Tensor:
        assert x.ndim == 3
        return torch.square((x * self.weight[:, None]).sum(1)).sum(1) * -1

    def inference_on_tensor(self, x: Tensor) -> Tensor:
        return self.forward(x)

    def __call__(self, seqs: list[str]) -> np.ndarray:
        order = self.vocab[::-1] if self.wrong else self.vocab
        tokens = torch.tensor([[order.index(letter) for letter in seq] for seq in seqs])
        return self.inference_on_tensor(nn.functional.one_hot(tokens, 4).mT.float()).detach().numpy()


class MinGap:
    """As ledidi's loss of the same name."""

    def __call__(self, y_hat: Tensor, y_bar: Tensor) -> Tensor:
        return torch.mean(y_hat[:, 1:].max(dim=-1).values - y_hat[:, 0])


def sequences(count: int = 6) -> Tensor:
    return torch.randint(4, (count, LENGTH), generator=torch.Generator().manual_seed(1))


def one_hot(tokens: Tensor) -> Tensor:
    return nn.functional.one_hot(tokens, 4).mT.float()


def found(oracle: Any) -> tuple[Tensor, Tensor]:
    """Scores (batch,) and their gradients (batch, letters, length), as a search gets them."""
    problem = DesignProblem(oracle, FromNothing(LENGTH), batch=4)
    evaluation = problem.evaluator.evaluate(one_hot(sequences()).mT, gradient=True)
    assert evaluation.gradient is not None
    return evaluation.scores, evaluation.gradient.mT


def expected(loss: Any) -> tuple[Tensor, Tensor]:
    """The same of a loss of one sequence (1, letters, length), one at a time."""
    scores, slopes = [], []
    for row in one_hot(sequences()).split(1):
        leaf = row.clone().requires_grad_()
        score = -loss(leaf)
        scores.append(score.detach().reshape(1))
        slopes.append(torch.autograd.grad(score.sum(), leaf)[0])
    return torch.cat(scores), torch.cat(slopes)


MODEL = Joined([Tasks(2), Tasks(1, seed=1)]).eval()
Y = torch.tensor([[0.3, -0.2, 1.0]])


@pytest.mark.parametrize(
    ("oracle", "loss"),
    [
        (LedidiOracle(MODEL, Y), lambda x: nn.MSELoss()(MODEL(x), Y)),
        (LedidiOracle(MODEL, [[1.5]], target=2), lambda x: nn.MSELoss()(MODEL(x)[:, 2:3], torch.tensor([[1.5]]))),
        (LedidiOracle(MODEL, 1.5, target=1), lambda x: nn.MSELoss()(MODEL(x)[:, 1:2], torch.tensor([[1.5]]))),
        (LedidiOracle(MODEL, Y, output_loss=nn.L1Loss()), lambda x: nn.L1Loss()(MODEL(x), Y)),
        (LedidiOracle(MODEL, None, output_loss=MinGap()), lambda x: MinGap()(MODEL(x), Y)),
        (TangermemeOracle(MODEL), lambda x: -MODEL(x).mean()),
        (TangermemeOracle(MODEL, output_mask=[True, False, True]), lambda x: -MODEL(x)[:, [0, 2]].mean()),
        (
            TangermemeOracle(MODEL, y=Y, output_mask=torch.tensor([False, True, True])),
            lambda x: nn.MSELoss(reduction="none")(Y[:, 1:], MODEL(x)[:, 1:]).mean(),
        ),
        (
            TangermemeOracle(MODEL, y=Y, loss=nn.HuberLoss(reduction="none", delta=0.1)),
            lambda x: nn.HuberLoss(delta=0.1)(MODEL(x), Y),
        ),
        (
            TangermemeOracle(Tasks().eval(), args=[torch.tensor([[2.0, 1.0, 0.0]]), [[1]]]),
            lambda x: -Tasks().eval()(x, torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[1.0]])).mean(),
        ),
        (TangermemeOracle(lambda x: (x, MODEL(x)), output=1), lambda x: -MODEL(x).mean()),
        (NucleoBenchOracle(Counts()), lambda x: Counts().inference_on_tensor(x)),
    ],
    ids=range(12),
)
def test_scores_and_gradients_are_those_of_the_loss(oracle: Any, loss: Any) -> None:
    for ours, theirs in zip(found(oracle), expected(loss), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_total_is_that_of_ledidi() -> None:
    """Loss + l * edits with its default l, whose edits are half the L1 distance."""
    template = "ACGTACGTACGT"
    problem = DesignProblem(LedidiOracle(MODEL, Y), Edit(template))
    tokens = sequences()
    start = one_hot(DNA.encode(template)[None])
    totals = [
        nn.MSELoss()(MODEL(x), Y) + 0.1 * nn.L1Loss(reduction="sum")(x, start) / 2 for x in one_hot(tokens).split(1)
    ]
    torch.testing.assert_close(problem.total(problem.score(tokens), tokens), torch.stack(totals).detach())


def test_what_is_minimised_elsewhere_is_maximised_here() -> None:
    """The best 5-mer of the loss, by enumeration, is what the search finds."""
    every = torch.cartesian_prod(*[torch.arange(4)] * 5)
    for oracle, losses in [
        (LedidiOracle(MODEL, Y), (MODEL(one_hot(every)) - Y).square().mean(1)),
        (NucleoBenchOracle(Counts()), Counts().inference_on_tensor(one_hot(every))),
    ]:
        search = GradientSearch(16, 20).begin(DesignProblem(oracle, FromNothing(5)), seed=0)
        search.run()
        assert search.designs(1)[0].total == pytest.approx(float(losses.detach().min()), rel=1e-5)


@pytest.mark.parametrize("goal", [Minimize(), Target(1.0)])
@pytest.mark.parametrize(
    "oracle",
    [LedidiOracle(MODEL, Y), TangermemeOracle(MODEL), NucleoBenchOracle(Counts())],
    ids=lambda x: type(x).__name__,
)
def test_another_direction_is_refused(oracle: nn.Module, goal: Any) -> None:
    for each in (oracle, WeightedSum([oracle, SequenceCNN()], [1.0, 1.0])):
        with pytest.raises(ValueError, match="take Maximize"):
            DesignProblem(each, FromNothing(LENGTH), goal=goal)
    DesignProblem(oracle, FromNothing(LENGTH))
    turned = WeightedSum([oracle, SequenceCNN()], [-1.0, 1.0])  # its loss would be maximised
    with pytest.raises(ValueError, match=r"its weight is negative, and the goal is Maximize\(\): take Minimize"):
        DesignProblem(turned, FromNothing(LENGTH), goal=Maximize())


def test_a_function_of_tangermeme_takes_further_arguments() -> None:
    def scaled(x: Tensor, by: Tensor) -> Tensor:
        return x.sum((1, 2)).unsqueeze(1) * by

    oracle = TangermemeOracle(scaled, args=[torch.tensor([[3.0]])])
    assert torch.equal(oracle(torch.ones(2, 4, 5)), torch.tensor([60.0, 60.0]))


def test_a_model_of_nucleobench_is_not_taken_for_an_oracle() -> None:
    with pytest.raises(TypeError, match=r"NucleoBenchOracle\(model\)"):
        DesignProblem(Counts(), FromNothing(LENGTH))


def test_vocabulary() -> None:
    reordered = NucleoBenchOracle(Counts("TGCA"))
    with pytest.raises(ValueError, match="reads the letters TGCA"):
        DesignProblem(reordered, FromNothing(LENGTH))
    problem = DesignProblem(reordered, FromNothing(LENGTH), letters="TGCA")
    strings = ["ACGTTTTTTTTT", "GGGGGGGGGGGG"]
    expected = torch.from_numpy(-Counts("TGCA")(strings))
    torch.testing.assert_close(problem.score(problem.alphabet.encode_all(strings)), expected)
    with pytest.raises(ValueError, match="the vocab of the model is TGCA"):
        NucleoBenchOracle(Counts("TGCA"), letters="DNA")
    wrong = DesignProblem(NucleoBenchOracle(Counts(wrong=True)), FromNothing(LENGTH))
    with pytest.raises(ValueError, match="`vocab` is not the order of its channels"):
        wrong.score(sequences())


def test_strings_alone_have_no_gradient_and_can_be_searched() -> None:
    class Strings:
        vocab = frozenset("ACGT")

        def __call__(self, x: list[str], return_debug_info: bool = False) -> list[int]:
            return [-1 * each.count("GA") for each in x]

    oracle = NucleoBenchOracle(Strings())
    assert oracle.channel_letters == "ACGT"
    theirs = BlackBox(lambda strings: [each.count("GA") for each in strings])
    torch.testing.assert_close(oracle(one_hot(sequences())), theirs(one_hot(sequences())))
    search = GradientSearch(16, 60, LeaveOneOut(4), polish=Polish(calls=200))
    search.begin(DesignProblem(oracle, FromNothing(6)), seed=0).run()
    assert search.designs(1)[0].sequence == "GAGAGA"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LedidiOracle(MODEL, None), "needs y_bar"),
        (lambda: LedidiOracle(MODEL, 1.0, target=-1), "from 0 on, got -1"),
        (lambda: found(LedidiOracle(MODEL, 1.0, target=3)), "no output 3"),
        (lambda: found(LedidiOracle(MODEL, [1.0, 2.0])), r"shape \(1, 2\)"),
        (lambda: found(LedidiOracle(MODEL, Y, output_loss=nn.MSELoss(reduction="none"))), "reduction='mean'"),
        (lambda: found(LedidiOracle(lambda x: x.sum((1, 2)), 1.0)), r"must return \(4, outputs"),
        (lambda: TangermemeOracle(MODEL, loss=nn.MSELoss()), "there is no y"),
        (lambda: TangermemeOracle(MODEL, args=[[1.0, 2.0]]), r"args\[0\]"),
        (lambda: found(TangermemeOracle(MODEL, output_mask=[True])), "output_mask is of 1"),
        (lambda: found(TangermemeOracle(MODEL, y=Y, loss=nn.MSELoss())), "reduction='none'"),
        (lambda: NucleoBenchOracle(Counts), "takes an object"),  # type: ignore[arg-type]
    ],
    ids=range(11),
)
def test_refuses(make: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        make()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("LedidiOracle", "{model: {class_path: HERE.Tasks}, y_bar: null, output_loss: {class_path: HERE.MinGap}}"),
        ("TangermemeOracle", "{model: {class_path: HERE.Tasks}, y: [1.0, 0.0, 0.0], output_mask: [true, true, false]}"),
        ("NucleoBenchOracle", "{model: {class_path: HERE.Counts}}"),
    ],
)
def test_configs(name: str, arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model and a loss of their own, from a config."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.yaml").write_text(
        "model:\n  class_path: SequenceDesigner\n  init_args:\n"
        f"    oracle: {{class_path: discrete_lightning.oracles.{name}, init_args: {arguments.replace('HERE', __name__)}}}\n"
        f"    start: {{class_path: FromNothing, init_args: {{length: {LENGTH}}}}}\n"
        "    search: {class_path: GradientSearch, init_args: {chains: 2, steps: 2, polish: {calls: 8}}}\n"
        "trainer: {max_epochs: -1, accelerator: cpu, callbacks: [DesignWriter]}\n"
    )
    assert main(["fit", "-c", "theirs.yaml", "--trust", "tests"]) == 0
    assert list(tmp_path.glob("runs/*/*/designs.csv"))


def test_ledidis_own() -> None:
    ledidi = pytest.importorskip("ledidi.ledidi", exc_type=ImportError)
    model = importlib.import_module("ledidi.wrappers").DesignWrapper([Tasks(2), Tasks(1, seed=1)]).eval()
    loss = importlib.import_module("ledidi.losses").MinGap(torch.tensor([True, False, False]))
    for oracle, target, output_loss in [
        (LedidiOracle(model, Y), None, nn.MSELoss()),
        (LedidiOracle(model, 1.0, target=1), 1, nn.MSELoss()),
        (LedidiOracle(model, Y, output_loss=loss), None, loss),
    ]:
        y_bar = Y if target is None else torch.tensor([[1.0]])
        for ours, row in zip(found(oracle)[0], one_hot(sequences()).split(1), strict=True):
            start = one_hot(DNA.encode("ACGTACGTACGT")[None])
            # ledidi's history has the losses of its samples: of one that is sure to be this sequence
            weights = 1e4 * (row - 0.5)
            designer = ledidi.Ledidi(
                model, row.shape[1:], target, output_loss=output_loss, batch_size=1, max_iter=1, initial_weights=weights,
                return_history=True, verbose=False,
            )  # fmt: skip
            _, history = designer.fit_transform(start, y_bar)
            torch.testing.assert_close(-float(ours), history["output_loss"][0], rtol=1e-5, atol=1e-6)


def test_tangermemes_own() -> None:
    design = pytest.importorskip("tangermeme.design", exc_type=ImportError)
    template = DNA.encode("ACGTACGTACGT")[None]
    options: dict[str, Any] = {"y": Y, "output_mask": torch.tensor([True, False, True])}
    theirs = design.greedy_substitution(
        MODEL, one_hot(template), max_iter=1, input_mask=torch.arange(LENGTH) == 3, device="cpu", **options
    )
    # greedy takes the best single edit: ours scores it best of all at this place
    candidates = template.repeat(4, 1)
    candidates[:, 3] = torch.arange(4)
    scores = TangermemeOracle(MODEL, **options)(one_hot(candidates))
    assert torch.equal(theirs.argmax(1)[0], candidates[scores.argmax()])


@pytest.mark.parametrize("package", ["nucleobench", "gradabeam"])
def test_nucleobenchs_own(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if package == "gradabeam":
        model = pytest.importorskip("gradabeam.testing_utils").CountLetterModel("G")
    else:
        root = Path(pytest.importorskip("nucleobench").__file__).parent
        for name in ("models", "optimizations"):  # without their __init__, which imports every model and its packages
            bare = ModuleType(f"nucleobench.{name}")
            bare.__path__ = [str(root / name)]
            monkeypatch.setitem(sys.modules, bare.__name__, bare)
        module = importlib.import_module("nucleobench.models.substring_count_net.model_def")
        model = module.CountSubstringModel("GAT", flip_sign=True)
    oracle = NucleoBenchOracle(model)
    scores, slopes = found(oracle)
    strings = [DNA.decode(row) for row in sequences()]
    torch.testing.assert_close(scores, -torch.tensor(np.asarray(model(strings)), dtype=torch.float32))
    here = one_hot(sequences())
    for string, slope, x in zip(strings, slopes, here, strict=True):
        if hasattr(model, "tism_torch"):  # not in NucleoBench 0.1
            torch.testing.assert_close((slope * x).sum(0) - slope, model.tism_torch(string))
    search = GradientSearch(8, 10).begin(DesignProblem(oracle, FromNothing(LENGTH)), seed=0)
    search.run()
    for design in search.designs(3):
        assert float(model([design.sequence])[0]) == pytest.approx(-design.score)
