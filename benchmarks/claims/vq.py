"""Claims about codebooks."""

from benchmarks.claims.claim import Claim
from benchmarks.claims.pages import README, VQ

PEER = ("vector-quantize-pytorch==1.32", "data/fashion-mnist")
FEW = "--options --trainer.limit_train_batches 60 --trainer.limit_test_batches 10"


MEASURED = ("mnist_ema", "mnist_fsq", "fashion_residual")


def preset(name: str, config: str, words: dict[str, str], worst: float, live: int, codes: str = "live_codes") -> Claim:
    """A config after 60 batches: an error that only a trained model has, and codes that live."""
    return Claim(
        name=f"vq/{name}",
        stands=words,
        command=f"python -m benchmarks.recipes {config}",
        quick=f"python -m benchmarks.recipes {config} --seeds 1 {FEW}",
        results="results/recipes.txt" if name in MEASURED else "",
        reads=tuple(rf"^{config}, seeds[\s\S]*?test/{figure} +{{NUMBER}}" for figure in ("reconstruction", codes)),
        holds=lambda error, alive: error < worst and alive >= live,
        now="after 60 batches: test MSE {0}, {1} live codes",
        needs=("data/fashion-mnist" if "fashion" in config else "data/mnist",),
    )


CLAIMS = (
    Claim(
        name="vq/recipes",
        results="vq/results/recipes.txt",
        stands={
            README: "test MSE 0.0047 (0.0044 to 0.0050), 126 to 128 live codes",
            VQ: "| config `vq/quickstart` (`make quickstart`, seed 1) | 0.0047 (0.0044 to 0.0050) | 126 to 128 | 42 to 56 |",
        },
        command="python -m benchmarks.vq.recipes --only vq/quickstart",
        quick="python -m benchmarks.vq.recipes --only vq/quickstart --seeds 1 --batches 60",
        reads=(
            "as it is +error {NUMBER} .*live codes {NUMBER} to",
            r"VectorQuantizer \(EMA\) +error {NUMBER}",
            "vector-quantize-pytorch +error {NUMBER}",
        ),
        holds=lambda ours, live, ema, theirs: ours < 1.1 * ema and ours < 1.1 * theirs and live > 100,
        now="one epoch: test MSE {0}, {1} live codes; EMA codes {2}, theirs {3}",
        needs=("vector-quantize-pytorch==1.32",),
    ),
    Claim(
        name="vq/against vector-quantize-pytorch",
        results="vq/results/codebooks.txt",
        stands={
            README: "256 codes 0.00799 (0.00721 to 0.00843), theirs 0.00933 (0.00919 to 0.00953)",
            VQ: "**0.00799** (0.00843, 0.00721, 0.00834)",
        },
        command="python -m benchmarks.vq.codebooks --codes 256 1024 --steps 800 --seeds 0 1 2 --skip timing",
        quick='python -m benchmarks.vq.codebooks --codes 256 --steps 150 --seeds 0 --skip timing --only ours "theirs, k-means"',
        reads=(
            r"256 codes  ours +.*error {NUMBER} ",
            r"256 codes  theirs, k-means +.*error {NUMBER} .*live",
            r"256 codes  ours +.*live +{NUMBER}%",
        ),
        holds=lambda ours, theirs, live: ours < 1.03 * theirs and live > 98,
        now="150 steps: ours {0}, theirs {1}; {2} % of ours live",
        needs=PEER,
        limit=150,
    ),
    Claim(
        name="vq/against vector-quantize-pytorch, deep",
        stands={
            README: "0.01116 (0.01052 to 0.01212), theirs 0.01126 (0.01054 to 0.01240)",
            VQ: "0.01116 (0.01084, 0.01212",
        },
        command="python -m benchmarks.vq.codebooks --deep --hidden 32 --codes 1024 --steps 600 --seeds 0 1 2 --skip timing "
        '--only ours "theirs, k-means"',
        quick="python -m benchmarks.vq.codebooks --deep --hidden 16 --codes 256 --steps 60 --seeds 0 --skip timing "
        '--only ours "theirs, k-means"',
        reads=(r"256 codes  ours +.*error {NUMBER} ", r"256 codes  theirs, k-means +.*error {NUMBER} .*live"),
        holds=lambda ours, theirs: 0.7 < ours / theirs < 1.1,
        now="60 steps: ours {0}, theirs {1}",
        needs=PEER,
        limit=150,
    ),
    Claim(
        name="vq/speed",
        results="vq/results/codebooks.txt",
        stands={
            README: "4.2 to 12 times as fast, 0.13 to 0.31 of the peak memory",
            VQ: "| 256 | 6.6 ms | 27.6 ms | 4.2 | 29 against 95 MiB |",
        },
        command="python -m benchmarks.vq.codebooks --skip training",
        quick="python -m benchmarks.vq.codebooks --codes 256 --skip training --rounds 3",
        reads=(
            r"256 codes  theirs .* {NUMBER} times ours +peak +{NUMBER} MiB",
            r"256 codes  ours .*peak +{NUMBER} MiB",
        ),
        holds=lambda times, theirs, ours: times > 2 and ours < 0.6 * theirs,
        now="256 codes: {0} times as fast, {2} against {1} MiB",
        needs=PEER,
    ),
    Claim(
        name="vq/defaults",
        results="vq/results/defaults.txt",
        stands={
            README: "`GumbelQuantizer` 0.940 (12 cells: 0.882 to 0.992)",
            VQ: "Means over these cells: `GumbelQuantizer` 0.940",
        },
        command="python -m benchmarks.vq.defaults",
        quick="python -m benchmarks.vq.defaults --steps 100 --codes 256 --encoders small --seeds 0",
        reads=tuple(
            rf"{name} +error .* / EMA {{NUMBER}}"
            for name in ("GumbelQuantizer", "LearnedVectorQuantizer", "theirs, k-means")
        ),
        holds=lambda gumbel, learned, theirs: gumbel < 1.02 and learned < 1.03 and gumbel < theirs,
        now="small, 256 codes, 100 steps, one seed: {0}, {1}, theirs {2}",
        needs=PEER,
    ),
    Claim(
        name="vq/bonus",
        results="vq/results/bonus.txt",
        stands={
            VQ: "Logits from distances to codes that start among the vectors choose a code that fits from the first step"
        },
        command="python -m benchmarks.vq.defaults --bonus --steps 300",
        quick="python -m benchmarks.vq.defaults --bonus --steps 40 --seeds 0 --bonuses 0 1e-2",
        reads=(
            "^linear +bonus 0 +error {NUMBER} +live +{NUMBER}%",
            "^distances +bonus 0 +error {NUMBER} +live +{NUMBER}%",
        ),
        holds=lambda linear, few, distances, many: distances < linear and many > 50 > few,
        now="no bonus: a linear layer {0} ({1} % live), distances {2} ({3} %)",
        needs=("data/fashion-mnist",),
    ),
    Claim(
        name="vq/large codebook",
        results="vq/results/large_codebook.txt",
        stands={README: "0.40 of the time and 0.034 of the memory of `gumbel_softmax(hard=True) @ codes`"},
        command="python -m benchmarks.vq.large_codebook",
        quick="python -m benchmarks.vq.large_codebook --rounds 1",
        reads=(r"ours / dense: time {NUMBER} \(bar 1.1\), memory {NUMBER}",),
        holds=lambda time, memory: time < 0.9 and memory < 0.1,
        now="{0} of the time, {1} of the memory",
        needs=("torch==2.13",),
    ),
    Claim(
        name="vq/sampled step",
        results="vq/results/sampled.txt",
        stands={VQ: "0.37 and 0.36 of the time of `gumbel_softmax(linear(x), hard=True) @ codes` in torch"},
        command="python -m benchmarks.vq.sampled --threads 1",
        quick="python -m benchmarks.vq.sampled --threads 1 --codes 1024 --rounds 3",
        reads=(
            "1024 codes  GumbelQuantizer .* {NUMBER} times torch's +peak +{NUMBER} MiB",
            "1024 codes  torch .*peak +{NUMBER} MiB",
        ),
        holds=lambda time, ours, dense: time < 0.8 and ours < 0.6 * dense,
        now="1,024 codes: {0} of the time, {1} against {2} MiB",
        needs=("torch==2.13",),
    ),
    preset(
        "mnist_gumbel",
        "vq/mnist_gumbel",
        {README: "test MSE 0.0048 (0.0046 to 0.0052), all 256 codes live", VQ: "0.0048 (0.0046 to 0.0052); EMA codes"},
        0.06,
        200,
    ),
    preset(
        "fashion_gumbel",
        "vq/fashion_gumbel",
        {
            README: "test MSE 0.0095 (0.0086 to 0.0101), all 512 codes live",
            VQ: "0.0095 (0.0086 to 0.0101) | 512 of 512",
        },
        0.06,
        400,
    ),
    preset(
        "fashion_wav2vec2",
        "vq/fashion_wav2vec2",
        {
            README: "test MSE 0.0144 (0.0135 to 0.0151), 316 to 320 of 320 codes live",
            VQ: "0.0144 (0.0135 to 0.0151) | 316",
        },
        0.06,
        30,
        r"live_codes\S*",
    ),
    preset(
        "mnist_ema",
        "vq/mnist_ema",
        {README: "test MSE 0.0063 (0.0051 to 0.0074), 252 to 256 live codes", VQ: "0.0063 (0.0051 to 0.0074)"},
        0.08,  # of 60 batches: its codes come alive later
        2,
    ),
    preset(
        "mnist_fsq",
        "vq/mnist_fsq",
        {README: "test MSE 0.0055 (0.0052 to 0.0059), 860 to 913 live codes", VQ: "| `vq/mnist_fsq`, 3 seeds |"},
        0.06,
        300,
    ),
    preset(
        "fashion_residual",
        "vq/fashion_residual",
        {
            README: "test MSE 0.0084 (0.0071 to 0.0092), all 4 x 256 codes live",
            VQ: "| `vq/fashion_residual`, 3 seeds |",
        },
        0.06,
        100,
        r"live_codes\S*",
    ),
    Claim(
        name="vq/learned temperature",
        stands={README: "with an entropy bonus of 0, 1e-3, 1e-2"},
        command='python -m benchmarks.recipes "vq/learned_temperature, bonus 0" "vq/learned_temperature, bonus 1e-2"',
        quick='python -m benchmarks.recipes "vq/learned_temperature, bonus 0" "vq/learned_temperature, bonus 1e-2" --seeds 1 '
        "--options --trainer.max_epochs 2",
        reads=(r"bonus 0, seeds[\s\S]*?^  temperature +{NUMBER}", r"bonus 1e-2, seeds[\s\S]*?^  temperature +{NUMBER}"),
        holds=lambda none, large: none < large,
        now="2 epochs: {0} without, {1} with a bonus of 1e-2",
    ),
)
