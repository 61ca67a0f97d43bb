"""Claims about codebooks of many codes, and of many levels."""

from benchmarks.claims.claim import Claim
from benchmarks.claims.pages import README, VQ
from benchmarks.claims.vq import PEER

CLAIMS = (
    Claim(
        name="large/262,144 codes",
        stands={},
        command="python -m benchmarks.vq.huge_codebook",
        quick="python -m benchmarks.vq.huge_codebook --codes 8192 --images 1500 --batch 128",
        reads=("extra peak of training {NUMBER} MiB", r"live {NUMBER}% \(bar 95 %\)"),
        holds=lambda peak, live: peak < 4000 and live > 70,
        now="8,192 codes, 1,500 images: {1} % live, a peak of {0} MiB",
        needs=("data/fashion-mnist",),
    ),
    Claim(
        name="large/race at 65,536 codes",
        stands={},
        command="python -m benchmarks.vq.large_race --skip Gumbel",
        quick="python -m benchmarks.vq.large_race --steps 8 --seeds 0 --images 100 "
        '--only "index back-propagation" EMA "theirs, k-means + dead codes"',
        reads=(
            "^index back-propagation +seed 0 +error {NUMBER}",
            "^theirs, k-means . dead codes +seed 0 +error {NUMBER}",
        ),
        holds=lambda ours, theirs: ours < 1.2 * theirs,
        now="8 steps: error {0}, theirs {1}",
        needs=PEER,
        limit=150,
    ),
    Claim(
        name="large/one residual stack for 8 bit rates",
        results="vq/results/residual.txt",
        stands={
            VQ: "| error | 0.979 (0.964 to 1.001) | 0.989 (0.957 to 1.020) |",
            README: "means 0.975 to 1.001 (single seeds 0.923 to 1.026), all codes live",
        },
        command="python -m benchmarks.vq.residual",
        quick="python -m benchmarks.vq.residual --seeds 0 --depths 2 8 --steps 150 --skip timing",
        reads=tuple(f"^{depth} stages: shared / dedicated {{NUMBER}}" for depth in (2, 8)),
        holds=lambda two, eight: max(two, eight) < 1.15,
        now="150 steps, one seed: error shared / dedicated {0} at 2 stages, {1} at 8",
        needs=("data/fashion-mnist",),
    ),
    Claim(
        name="large/speech",
        stands={VQ: "| SI-SNR, dB | 2.81 | 5.72 |"},
        command="python -m benchmarks.vq.speech",
        quick="python -m benchmarks.vq.speech --seeds 1 --epochs 1",
        reads=("^1 stages +si_snr {NUMBER}", "^8 stages +si_snr {NUMBER}"),
        holds=lambda one, eight: eight > one,
        now="one epoch: SI-SNR {0} dB with one stage, {1} dB with 8",
        limit=120,
    ),
    Claim(
        name="large/semantic IDs",
        stands={},
        command="python -m benchmarks.vq.semantic_ids",
        quick="python -m benchmarks.vq.semantic_ids --seeds 1 --codes 64 --epochs 3",
        reads=("^ *64 codes  ours +collisions +{NUMBER}%",),
        holds=lambda collisions: collisions < 60,
        now="64 codes, 3 epochs: {0} % of the items share their codes",
        limit=120,
    ),
)
