"""Claims about variational autoencoders with discrete latents."""

from benchmarks.claims.claim import Claim
from benchmarks.claims.pages import README, VAE

FEW = "--options --trainer.max_epochs 1 --trainer.limit_train_batches 150 --trainer.limit_test_batches 5"

CLAIMS = (
    Claim(
        name="vae/mnist_binary",
        stands={README: "200 binary latents, GumbelSoftmax, 5 epochs of its 40"},
        command="python -m benchmarks.recipes vae/mnist_binary",
        quick=f"python -m benchmarks.recipes vae/mnist_binary --seeds 1 {FEW}",
        reads=("test/bound_100 +{NUMBER}",),
        holds=lambda bound: bound < 230,
        now="150 steps: 100-sample bound {0}",
        needs=("data/mnist",),
    ),
    Claim(
        name="vae/mnist_categorical",
        stands={README: "1,000-sample bound 93.1 nats, one seed", VAE: "| **93.1** | 101.5 |"},
        command="discrete-lightning fit -c vae/mnist_categorical",
        quick=f"python -m benchmarks.recipes vae/mnist_categorical --seeds 1 {FEW}",
        reads=("test/bound_1?0?00 .*?{NUMBER}",),
        holds=lambda bound: bound < 230,
        now="150 steps: 100-sample bound {0}",
        needs=("data/mnist",),
    ),
    Claim(
        name="vae/ReinMax",
        stands={VAE: "| 4 x 24 | ReinMax | 5 epochs, seed 0 | 136.12 | 132.60 |"},
        command="python recipes/vae/compare.py --categories 4 --latents 24 --epochs 5",
        quick="python recipes/vae/compare.py --categories 4 --latents 24 --epochs 1 --estimators StraightThroughGumbel ReinMax",
        reads=("StraightThroughGumbel +train +{NUMBER} +test +{NUMBER}", "ReinMax +train +{NUMBER} +test +{NUMBER}"),
        holds=lambda _, gumbel, __, reinmax: reinmax < gumbel,
        now="1 epoch: test ELBO of ReinMax {3}, straight-through Gumbel {1}",
        needs=("data/mnist",),
    ),
)
