"""Claims about the design of sequences."""

from dataclasses import replace

from benchmarks.claims.claim import Claim
from benchmarks.claims.pages import DESIGN, README

RIVALS = ("gradabeam==0.2.1", "ledidi==2.2.0", "tangermeme==1.6.0")

EDITS = Claim(
    name="design/edits against ledidi",
    results="design/results/edits.txt",
    stands={
        README: "GATA2 scan: 7.32 (7.01 to 7.76), theirs 9.82 (9.18 to 10.32)",
        DESIGN: "**7.32** (7.01 to 7.76)",
    },
    command="python -m benchmarks.design.edits --out .",
    quick="python -m benchmarks.design.edits --out . --starts 1 --oracles scan",
    reads=(
        r"GATA2[\s\S]*?discrete_lightning +total +{NUMBER} +evaluations +{NUMBER}",
        r"GATA2[\s\S]*?ledidi 2.2.0 +total +{NUMBER} +evaluations +{NUMBER}",
    ),
    holds=lambda ours, calls, theirs, their_calls: ours < theirs and calls < their_calls,
    now="one start: total {0} with {1} evaluations, theirs {2} with {3}",
    needs=("ledidi==2.2.0",),
)

CLAIMS = (
    Claim(
        name="design/tfbind8, gradients",
        results="design/results/tfbind8.txt",
        stands={
            README: "global optimum 0.49105, in 10 of 10 seeds within 424 oracle calls",
            DESIGN: "0.49105, the global optimum, in 10 of 10 seeds within 424",
        },
        command="python -m benchmarks.design.tfbind8",
        quick="python -m benchmarks.design.tfbind8 --seeds 2 --calls 100 300",
        reads=("optimum in {NUMBER} of {NUMBER} seeds",),
        holds=lambda found, seeds: found == seeds,
        now="optimum in {0} of {1} seeds",
    ),
    Claim(
        name="design/tfbind8, black box",
        results="design/results/tfbind8.txt",
        stands={
            README: "mean regret 0 after 500 calls in 10 of 10 seeds, best rival 0.0040",
            DESIGN: "0.0106 / 0 / 0 / 0; the best other method",
        },
        command="python -m benchmarks.design.tfbind8",
        quick="python -m benchmarks.design.tfbind8 --seeds 2 --calls 100 300",
        reads=(r"SurrogateSearch +\S+ +{NUMBER}", r"ageing evolution 20/5 +\S+ +{NUMBER}"),
        holds=lambda ours, rival: ours < 0.02 and ours <= rival + 0.005,
        now="2 seeds, 300 calls: regret {0}, ageing evolution {1}",
    ),
    Claim(
        name="design/ehrlich",
        results="design/results/ehrlich.txt",
        stands={DESIGN: "optimum in 10, 10, 10 of 10 within 3,984 evaluations"},
        command="python -m benchmarks.design.ehrlich",
        quick="python -m benchmarks.design.ehrlich --seeds 2 --no-genetic",
        reads=tuple(rf"L={length} .*optimum in {{NUMBER}} of {{NUMBER}}," for length in (64, 128, 32)),
        holds=lambda *found: found[::2] == found[1::2],
        now="optimum in {0} of {1}, {2} of {3}, {4} of {5}",
    ),
    Claim(
        name="design/gb1",
        results="design/results/gb1.txt",
        stands={
            README: "100 designs: measured mean 1.36 (1.29 to 1.39)",
            DESIGN: "on the ensemble 1.36 (1.29 to 1.39)",
        },
        command="python recipes/design/gb1.py",
        quick="python recipes/design/gb1.py --training 500 --seeds 1",
        reads=(
            "GradientSearch, pessimistic ensemble +mean +{NUMBER}",
            "best training variants +mean +{NUMBER}",
            "random +mean +{NUMBER}",
        ),
        holds=lambda ours, trained, random: ours > random + 3 and ours > trained - 0.3,
        now="500 training variants: measured mean {0}, best of the training {1}, random {2}",
        needs=("data/gb1",),
    ),
    Claim(
        name="design/chains",
        results="design/results/chains.txt",
        stands={DESIGN: "4.1, 0.27 and 0.21 ms (one thread)"},
        command="python -m benchmarks.design.chains",
        quick="python -m benchmarks.design.chains --steps 5",
        reads=(" 64 chains: .* {NUMBER} times cheaper", "1024 chains: .* {NUMBER} times cheaper"),
        holds=lambda some, many: some > 5 and many > 5,
        now="a chain's step is {0} times cheaper with 64, {1} with 1,024",
    ),
    Claim(
        name="design/edit",
        results="results/recipes.txt",
        stands={README: "GATA2 score 10.4 of target 11 with each of 3 seeds"},
        command="python -m benchmarks.recipes design/edit",
        quick="python -m benchmarks.recipes design/edit --seeds 1",
        reads=("test/best_score +{NUMBER}", "test/edits +{NUMBER}"),
        holds=lambda score, edits: score > 10 and edits <= 14,
        now="score {0} in {1} edits",
    ),
    EDITS,
    replace(EDITS, name="design/edits, the recipe", stands={README: "editing 2,114 bp against ledidi 2.2.0"}),
    Claim(
        name="design/every number of calls",
        results="design/results/anytime.txt",
        stands={
            README: "mean at least as good as the best of the peers at 80 of 80 places",
            DESIGN: "good (to three decimals) at 80 of 80 places",
        },
        command="python -m benchmarks.design_anytime",
        quick='python -m benchmarks.design_anytime --seeds 1 --task edit --only "scan of three" --calls 100 250',
        reads=tuple(
            rf"scan of three, 200 bp, edit[\s\S]*?^{name} +{{NUMBER}}"
            for name in (r"GradientSearch\(calls=N\)", "GrAdaBeam 0.2.1, beam 2", "ledidi 2.2.0")
        ),
        holds=lambda ours, *theirs: ours < min(theirs),
        now="one oracle and seed, 100 calls: {0}, GrAdaBeam {1}, ledidi {2}",
        needs=RIVALS,
        limit=150,
        codes=(0, 1),  # its bar counts greedy edits and our own parts, too
    ),
    Claim(
        name="design/pareto",
        stands={DESIGN: "1.09 after 2,000"},
        command="python -m benchmarks.design.pareto",
        quick="python -m benchmarks.design.pareto --seeds 1 --calls 500 "
        '--only "JUN scan up, CNN up" --methods ParetoSearch random',
        reads=("^ParetoSearch +{NUMBER}", "^random +{NUMBER}"),
        holds=lambda ours, random: ours > 1.5 * random,
        now="one problem and seed, 500 calls: hypervolume {0}, random {1}",
    ),
    Claim(
        name="design/indels",
        results="design/results/indels.txt",
        stands={DESIGN: "is .10, .20 and .32"},
        command="python -m benchmarks.design.indels",
        quick="python -m benchmarks.design.indels --starts 2 --calls 200 --problems free anchored",
        reads=tuple(rf"^{name} +indels=0: +{{NUMBER}} .*indels=4: +{{NUMBER}}" for name in ("free", "anchored")),
        holds=lambda free, free_with, anchored, anchored_with: free_with < free and anchored_with < anchored,
        now="without and with: {0} and {1}, {2} and {3}",
    ),
    Claim(
        name="design/diversity",
        results="design/results/diversity.txt",
        stands={DESIGN: "over four problems the 20 designs"},
        command="python -m benchmarks.design.diversity",
        quick='python -m benchmarks.design.diversity --seeds 2 --calls 400 --only "motif scan"',
        reads=(r"motif scan[\s\S]*?^diverse +\S+ \+- +\S+ +{NUMBER}% +\S+ \+- +\S+ +{NUMBER} +{NUMBER}",),
        holds=lambda kept, least, designs: kept > 85 and least >= 10 and designs == 20,
        now="2 seeds, 400 calls: {2} designs differ by {1} letters and keep {0} %",
    ),
)
