"""Claims about gradient estimators: their cost, bias and variance."""

from benchmarks.claims.claim import Claim
from benchmarks.claims.pages import ESTIMATORS, README

CLAIMS = (
    Claim(
        name="estimators/gumbel-softmax",
        results="results/gumbel_softmax.txt",
        stands={README: "forward 5.4 (soft) to 6.7 times (hard) as fast on 2 idle cores"},
        command="python -m benchmarks.gumbel_softmax",
        quick="python -m benchmarks.gumbel_softmax --rounds 3",
        reads=(
            "soft, forward  .* {NUMBER}x",
            "hard, forward  .* {NUMBER}x",
            r"soft, forward \+ backward .* {NUMBER}x",
            r"hard, forward \+ backward .* {NUMBER}x",
        ),
        holds=lambda *speeds: min(speeds[:2]) > 3 and min(speeds) > 2,
        now="forward {0} (soft), {1} (hard); with backward {2}, {3} times as fast",
        needs=("torch==2.13",),
    ),
    Claim(
        name="estimators/cost",
        results="results/estimators.txt",
        stands={README: "with backward ReinMax 0.13, straight-through 0.09, straight-through Gumbel 0.16"},
        command="python -m benchmarks.estimators",
        quick="python -m benchmarks.estimators --rounds 3",
        reads=(
            r"ReinMax .* {NUMBER}   \(bar",
            r"StraightThrough  .* {NUMBER}   \(bar",
            r"StraightThroughGumbel .* {NUMBER}   \(bar",
            r"GumbelRao\(10\) .* {NUMBER}   \(bar",
        ),
        holds=lambda reinmax, straight, gumbel, rao: max(reinmax, straight) < 0.3 and gumbel < 0.5 and rao < 3,
        now="with backward ReinMax {0}, straight-through {1}, straight-through Gumbel {2}, GumbelRao {3} of torch's time",
        needs=("torch==2.13",),
    ),
    Claim(
        name="estimators/arena",
        stands={
            README: "4x24 2.2, 8x16 2.7, 16x12 3.4, 64x8 2.5, 10x30 2.2 nats; ReinMax at the better of that and its paper's: "
            "2.2, 2.3, 0.7, -0.1, 2.2"
        },
        command="python -m benchmarks.arena",
        quick='python -m benchmarks.arena --check --tasks "VAE 8x16" --estimators ReinMax ContractedReinMax --seeds 100',
        reads=("^VAE 8x16 +ReinMax +{NUMBER}", "^VAE 8x16 +ContractedReinMax +{NUMBER}"),
        holds=lambda reinmax, ours: reinmax - ours > 1,
        now="VAE 8x16, another seed: ReinMax {0}, ContractedReinMax {1}",
        needs=("data/mnist",),
        limit=150,
    ),
    Claim(
        name="estimators/bias",
        stands={
            README: "ReinMax, straight-through, leave-one-out: bias 0.00 at tau 1",
            ESTIMATORS: "| ReinMax | 0.00 | 3.39 | 0.00 | 0.88 |",
        },
        command="python recipes/estimators/picture.py --out .",
        quick="python recipes/estimators/picture.py --draws 400 --out .",
        reads=(
            r"TFBind8: at tau = 1[\s\S]*?ReinMax +bias {NUMBER}",
            r"TFBind8: at tau = 1[\s\S]*?StraightThrough +bias {NUMBER}",
            r"TFBind8: at tau = 1[\s\S]*?LeaveOneOut +bias {NUMBER}",
            r"TFBind8: at tau = 1[\s\S]*?GumbelSoftmax +bias {NUMBER}",
        ),
        # 400 draws of a standard deviation of 3 to 4 leave noise of .2 in the bias.
        holds=lambda reinmax, straight, loo, relaxed: max(reinmax, straight, loo) < 0.25 < relaxed,
        now="bias of ReinMax {0}, straight-through {1}, leave-one-out {2}, GumbelSoftmax {3}",
    ),
    Claim(
        name="estimators/polynomial",
        stands={ESTIMATORS: "| ReinMax | 0.2037"},
        command="python recipes/estimators/train.py --seeds 0 1 2 --estimator ReinMax StraightThrough LeaveOneOut DisARM",
        quick="python recipes/estimators/train.py --steps 500 --estimator ReinMax StraightThrough LeaveOneOut DisARM",
        reads=tuple(
            f"{name}, p = 2, .*expected loss {{NUMBER}}"
            for name in ("ReinMax", "LeaveOneOut", "DisARM", "StraightThrough")
        ),
        holds=lambda reinmax, loo, disarm, straight: max(reinmax, loo, disarm) < straight - 0.003,
        now="expected loss of ReinMax {0}, leave-one-out {1}, DisARM {2}, straight-through {3}",
    ),
    Claim(
        name="estimators/subsets",
        stands={ESTIMATORS: "| ReinMax | 0.00 | 0.91 | 0.00 | 1.26 | 0.24 | 2.88 |"},
        command="python recipes/estimators/subsets.py",
        quick="python recipes/estimators/subsets.py --draws 8000",
        reads=(
            r"^ReinMax\(\) +{NUMBER} +\S+ +{NUMBER}",
            r"^SIMPLE\(\) +{NUMBER} +{NUMBER}",
            r"^LeaveOneOut\(samples=2\) +\S+ +\S+ +\S+ +\S+ +{NUMBER}",
            r"^GumbelSoftmax\(\) +{NUMBER}",
        ),
        holds=lambda linear, quadratic, simple, deviation, loo, relaxed: (
            max(linear, quadratic, loo) < 0.1 and max(simple, deviation) < 0.01 and relaxed > 0.15
        ),
        now="bias of ReinMax {0} (linear), {1} (quadratic), SIMPLE {2}, leave-one-out {4} (cubic), GumbelSoftmax {5}",
    ),
)
