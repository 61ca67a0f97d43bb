"""Claims about agents' choices, entropy bonuses and learned temperatures."""

from benchmarks.claims.claim import Claim
from benchmarks.claims.pages import CONTROL, README

PEER = ("stable-baselines3==2.9.2",)

CLAIMS = (
    Claim(
        name="control/cartpole",
        results="control/results/cartpole.txt",
        stands={
            README: "PPO 8,192 (6,144 to 20,480), Stable-Baselines3 2.9.2 14,336 (8,192 to 16,384)",
            CONTROL: "| PPO | 20,480, 6,144, 8,192, 6,144, 8,192 | 8,192 | 2.2 |",
        },
        command="python -m benchmarks.control.cartpole",
        quick="python -m benchmarks.control.cartpole --seeds 1 --steps 20480",
        reads=(r"^PPO +1 +{NUMBER}", r"^Path +1 +{NUMBER}"),
        holds=lambda ppo, path: ppo <= 20_480 and path <= 2_000,
        now="one seed: PPO after {0} steps, the path gradient after {1}",
        needs=PEER,
    ),
    Claim(
        name="control/quickstart",
        stands={
            README: "mean return of 100 greedy episodes 499 (497 to 500), 5 seeds",
            CONTROL: "498, 500, 497, 500 in 25 to 31 s",
        },
        command="python -m benchmarks.recipes control/quickstart --seeds 0 1 3 4 5",
        quick="python -m benchmarks.recipes control/quickstart --seeds 1",
        reads=("test/return +{NUMBER}",),
        holds=lambda mean: mean > 450,
        now="one seed: {0}",
        needs=("gymnasium",),
    ),
    Claim(
        name="control/learned temperature",
        stands={
            README: "relative error at most 1e-6 for five betas",
            CONTROL: "| Q_soft held, exact gradient: tau / beta | 1.0000 | 1.0000 | 1.0000 |",
        },
        command="python -m benchmarks.recipes control/learned_temperature",
        quick="python -m benchmarks.recipes control/learned_temperature --seeds 1",
        reads=("test/temperature_error +{NUMBER}",),
        holds=lambda error: abs(error) < 1e-4,
        now="relative error {0}",
    ),
    Claim(
        name="control/temperature",
        results="control/results/temperature.txt",
        stands={CONTROL: "the optimum is tau = beta"},
        command="python -m benchmarks.control.temperature",
        quick="python -m benchmarks.control.temperature --only derivatives",
        reads=(r"^FrozenLake-v1 +0.1 +{NUMBER} +{NUMBER} +{NUMBER} +{NUMBER}",),
        holds=lambda half, below, at, above: half > 0 and below > 0 > above and abs(at) < 1e-8,
        now="dJ/dtau below, at and above beta = .1: {1}, {2}, {3}",
    ),
    Claim(
        name="control/deep sea",
        results="control/results/deep_sea.txt",
        stands={CONTROL: "| learned by A2C, 3 seeds | .951, .951, .954 |"},
        command="python -m benchmarks.control.deep_sea",
        quick="python -m benchmarks.control.deep_sea --seeds 1 --betas .1 --most 480",
        reads=(
            r"^maximum_entropy +0.1 .* {NUMBER} \(bar",
            r"^regularized +0.1 .* {NUMBER} \(bar",
            "^entropy bonus .1 +never",
        ),
        holds=lambda soft, regularized: max(soft, regularized) < 0.03,
        now="largest difference to the closed forms {0}, {1}; a bonus alone finds no treasure in 480 episodes",
    ),
    Claim(
        name="control/classic",
        results="control/results/acrobot.txt",
        stands={CONTROL: "| Acrobot-v1, learning rate to 0 | 500,000 | -76.6, -82.8, -79.5 |"},
        command="python -m benchmarks.control.classic --environment Acrobot-v1",
        quick="python -m benchmarks.control.classic --environment Acrobot-v1 --steps 40960 --seeds 0 --without-peer",
        reads=(r"^PPO +0 +{NUMBER}",),
        holds=lambda mean: mean > -200,
        now="40,960 steps: a return of {0}",
        needs=("gymnasium",),
    ),
    Claim(
        name="control/toy text",
        results="control/results/taxi.txt",
        stands={CONTROL: "| Taxi-v4, without actions that have no effect | 500,000 | 7.91, 7.91, 7.91 |"},
        command="python -m benchmarks.control.toy_text",
        quick="python -m benchmarks.control.toy_text --environments Taxi-v4 --steps 61440 --seeds 0 --without-peer",
        reads=(r"^PPO, masks +0 +{NUMBER}",),
        holds=lambda mean: mean > 5,
        now="61,440 steps: a return of {0}",
        needs=("gymnasium",),
    ),
)
