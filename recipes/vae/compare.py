"""The protocol of ReinMax (Liu et al. 2023, https://arxiv.org/abs/2304.08612): VAEs of several sizes, with several estimators.

python recipes/vae/compare.py --categories 8 --latents 4 --epochs 160 [--seeds 0 1 2] [--estimators ReinMax]

MNIST with grey pixels and binary cross-entropy, batches of 100, MLPs with layers of 784, 512 and 256 units, analytic KL to the
uniform prior. Reported is the negative ELBO of the training set over the last epoch, as in the paper, and of the test set with
discrete draws.
"""

import argparse
import itertools
import logging
import time
import warnings

from lightning.pytorch import Trainer, seed_everything

from discrete_lightning.data import MNIST
from discrete_lightning.estimators import Estimator, GappedStraightThrough, GumbelRao, ReinMax, StraightThroughGumbel
from discrete_lightning.models import CategoricalVAE

ESTIMATORS: list[Estimator] = [StraightThroughGumbel(), GumbelRao(10), GappedStraightThrough(), ReinMax()]
# (categories, latents): learning rate and temperature of the paper's appendix
PUBLISHED = {(8, 4): (5e-4, 1.3), (4, 24): (5e-4, 1.5), (10, 30): (5e-4, 1.3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--categories", type=int, default=8)
    parser.add_argument("--latents", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=160)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--batches", type=int, help="of each epoch; all by default")
    names = [type(estimator).__name__ for estimator in ESTIMATORS]
    parser.add_argument("--estimators", nargs="+", choices=names, default=names)
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    rate, tau = PUBLISHED.get((arguments.categories, arguments.latents), (5e-4, 1.5))
    optimizer = "Adam" if (arguments.categories, arguments.latents) == (8, 4) else "RAdam"
    data = MNIST(batch_size=100, validation=0)
    chosen = [each for each in ESTIMATORS if type(each).__name__ in arguments.estimators]
    for estimator, seed in itertools.product(chosen, arguments.seeds):
        seed_everything(seed, verbose=False)
        model = CategoricalVAE(
            arguments.latents, arguments.categories, estimator, tau, learning_rate=rate, bound_samples=1,
            optimizer="RAdam" if optimizer == "RAdam" else "Adam",
        )  # fmt: skip
        trainer = Trainer(
            max_epochs=arguments.epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, limit_val_batches=0, limit_train_batches=arguments.batches,
        )  # fmt: skip
        start = time.perf_counter()
        trainer.fit(model, data)
        minutes = (time.perf_counter() - start) / 60
        train = float(trainer.callback_metrics["train/negative_elbo"])
        test = trainer.test(model, data, verbose=False)[0]["test/negative_elbo"]
        print(
            f"{arguments.categories} x {arguments.latents}, {arguments.epochs} epochs, seed {seed}: "
            f"{type(estimator).__name__:<22} train {train:7.2f}  test {test:7.2f}  {minutes:.1f} min",
            flush=True,
        )


if __name__ == "__main__":
    main()
