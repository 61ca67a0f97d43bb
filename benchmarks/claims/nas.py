"""Claims about architecture search."""

from benchmarks.claims.claim import Claim
from benchmarks.claims.pages import NAS, README

CLAIMS = (
    Claim(
        name="nas/regret",
        results="nas/results/architecture_regret.txt",
        stands={
            README: "regret 0.42 % (0.05 to 1.64); random search of that cost 0.83",
            NAS: "| GDAS | 0.42 (0.05 to 1.64) |",
        },
        command="python -m benchmarks.nas.architecture_regret",
        quick="python -m benchmarks.nas.architecture_regret --methods GDAS --seeds 1 --result regret.csv",
        reads=("^GDAS +regret {NUMBER} ", "random search of that cost {NUMBER}"),
        # One seed of five was at 1.64; a random cell of those that are searched is at 2.42.
        holds=lambda regret, random: regret < 2,
        now="one seed: regret {0} %; random search of that cost {1}",
        needs=("data/fashion-mnist",),
    ),
    Claim(
        name="nas/quickstart",
        stands={
            README: "GDAS searches a NAS-Bench-201 cell on 5,000 embedded digits",
            NAS: "| test accuracy, trained from scratch for 5 epochs |",
        },
        command="python -m benchmarks.recipes nas/quickstart",
        quick="python -m benchmarks.recipes nas/quickstart --seeds 1 --options --trainer.max_epochs 4",
        reads=("retrained test/accuracy +{NUMBER}",),
        holds=lambda accuracy: accuracy > 0.85,
        now="4 epochs of search: the found cell {0}",
    ),
    Claim(
        name="nas/target",
        stands={README: "inverted residuals within 500,000 FLOPs"},
        command="python -m benchmarks.recipes nas/target",
        quick="python -m benchmarks.recipes nas/target --seeds 1 --options --trainer.max_epochs 3",
        reads=("retrained test/accuracy +{NUMBER}",),
        holds=lambda accuracy: accuracy > 0.8,
        now="3 epochs of search: the found network {0}",
    ),
    Claim(
        name="nas/architecture table",
        stands={NAS: "The best reaches 79.47 %, the median 76.28 %"},
        command="python -m benchmarks.nas.architecture_table",
        quick="python -m benchmarks.nas.architecture_table --only 2 --seeds 1 --table table.csv",
        reads=("cells: best {NUMBER} %, median {NUMBER} %",),
        holds=lambda best, _: best > 65,
        now="the best of 3 cells {0} %",
        needs=("data/fashion-mnist",),
    ),
    Claim(
        name="nas/black box",
        results="nas/results/nb201.txt",
        stands={NAS: "| `SurrogateSearch` | 93.78 +- 0.05 | 93.95 +- 0.03 | 94.04 +- 0.01 |"},
        command="python -m benchmarks.nas.nb201 {data}/nb201/cifar10.npz",
        quick="python -m benchmarks.nas.nb201 {data}/nb201/cifar10.npz --seeds 3",
        reads=(
            r"^SurrogateSearch +\S+ \S+ \S+ +\S+ \S+ \S+ +{NUMBER}",
            r"^random search +\S+ \S+ \S+ +\S+ \S+ \S+ +{NUMBER}",
        ),
        holds=lambda ours, random: ours > 93.9 and ours > random,
        now="3 seeds, 200 cells: {0}, random search {1}",
        needs=("data/nb201",),
    ),
    Claim(
        name="nas/step",
        results="nas/results/search_step.txt",
        stands={README: "0.25 of the time, 0.28 of the memory", NAS: "GDAS takes 0.25 of the time and 0.28 of"},
        command="python -m benchmarks.nas.search_step",
        quick="python -m benchmarks.nas.search_step --rounds 1 --methods GDAS",
        reads=("^GDAS .*, {NUMBER} of DARTS; peak .*, {NUMBER} of DARTS",),
        holds=lambda time, memory: time < 0.65 and memory < 0.6,
        now="{0} of the time, {1} of the memory",
    ),
    Claim(
        name="nas/latency",
        results="nas/results/latency_table.txt",
        stands={NAS: "rank correlation of 0.91, 0.92 and 0.98 in three runs"},
        command="python -m benchmarks.nas.latency_table",
        quick="python -m benchmarks.nas.latency_table --networks 10 --rounds 2",
        reads=("Spearman of prediction and measurement {NUMBER}",),
        holds=lambda rank: rank > 0.7,
        now="10 cells: rank correlation {0}",
    ),
)
