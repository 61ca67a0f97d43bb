"""Several machines: whom a run waits for."""

import sys

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import ParallelStrategy

from discrete_lightning.training._lightning_private import patience
from discrete_lightning.training.run_folder import is_first_process


def announce_nodes(trainer: Trainer) -> None:
    """Says in one line for how many processes the first one waits, and where, if there are other machines."""
    strategy = trainer.strategy
    if trainer.num_nodes == 1 or not isinstance(strategy, ParallelStrategy) or not is_first_process():
        return
    environment = strategy.cluster_environment
    if environment is None:
        return
    here = trainer.num_devices
    print(
        f"note: waiting at {environment.main_address}:{environment.main_port} for the {trainer.world_size - here} processes of "
        f"the other {trainer.num_nodes - 1} machines (trainer.num_nodes={trainer.num_nodes}): start this command on each, by "
        f"torchrun or srun, or with MASTER_ADDR, MASTER_PORT and NODE_RANK set, within {patience(strategy)}; for one machine "
        "leave num_nodes out",
        file=sys.stderr,
        flush=True,
    )
