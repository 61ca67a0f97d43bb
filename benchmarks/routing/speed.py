"""What mixtures of experts and conditional depth cost: ratios of times, forward and backward, and of peak memory.

4,096 tokens of 256 numbers, 16 experts of 512 hidden units, 2 a token, against a dense layer of equal FLOPs (1,024 hidden
units), against peers that are installed (Hugging Face's Mixtral block; st-moe-pytorch), for more experts at equal k, and for
other routers; a conditional block that half of the tokens pass against the block. Contestants take turns; ratios are medians
over rounds. What was counted is applied in each round; the optimiser's step itself is left out. Peak memory is of processes of
their own.

    python -m benchmarks.routing.speed [--threads 2] [--rounds 9]
"""

import argparse
import importlib.util
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._timing import device_name, interleaved, milliseconds, ratio
from discrete_lightning.estimators import ReinMax
from discrete_lightning.layers.updated_layer import UpdatedLayer
from discrete_lightning.routing import Conditional, ExpertMLP, MixtureOfExperts, routing_loss

TOKENS, DIM, HIDDEN, COUNT, K = 4096, 256, 512, 16, 2
GATED = HIDDEN * 2 // 3 // 8 * 8


class Dense(nn.Module):
    """Two linear maps around a GELU."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(DIM, hidden, bias=False), nn.Linear(hidden, DIM, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(nn.functional.gelu(self.first(x)))
        return y


def mixture(router: Any = "bias_balanced", count: int = COUNT, k: int = K) -> MixtureOfExperts:
    """Of the benchmark's sizes."""
    return MixtureOfExperts(ExpertMLP(DIM, HIDDEN), count, k, router, tokens="bidirectional")


def mixture_like_mixtral() -> MixtureOfExperts:
    """The same experts as Mixtral's: three matrices, so the width is 2/3."""
    return MixtureOfExperts(ExpertMLP(DIM, GATED, "silu", gated=True), COUNT, K, "top_k")


def mixtral() -> nn.Module:
    """Hugging Face's block, with its fastest path."""
    from transformers import MixtralConfig
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

    config = MixtralConfig(hidden_size=DIM, intermediate_size=GATED, num_local_experts=COUNT, num_experts_per_tok=K)
    config._experts_implementation = "grouped_mm"
    block: nn.Module = MixtralSparseMoeBlock(config)
    for each in block.parameters():
        nn.init.normal_(each, std=0.02)
    return block


def st_moe() -> nn.Module:
    """st-moe-pytorch, with the capacity that it recommends."""
    from st_moe_pytorch import MoE

    block: nn.Module = MoE(dim=DIM, num_experts=COUNT, gating_top_n=K, expert_hidden_mult=HIDDEN / DIM)
    return block


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "dense": lambda: Dense(K * HIDDEN),
    "mixture": mixture,
    "mixture, top_k": lambda: mixture("top_k"),
    "mixture, 64 experts": lambda: mixture(count=64),
    "mixture, SwiGLU": mixture_like_mixtral,
    "mixture, Switch, k=1": lambda: mixture("switch", k=1),
    "mixture, Paired, k=1": lambda: mixture("paired", k=1),
    "mixture, ReinMax, k=1": lambda: mixture(ReinMax(), k=1),
}
PEERS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "Mixtral (transformers)": ("transformers", mixtral),
    "st-moe-pytorch": ("st_moe_pytorch", st_moe),
}
LAYERS |= {name: make for name, (package, make) in PEERS.items() if importlib.util.find_spec(package)}
LAYERS |= {
    "block": lambda: Dense(K * HIDDEN),
    "Conditional(block, share=.5)": lambda: Conditional(Dense(K * HIDDEN), 0.5, tokens="independent"),
}


def step_of(name: str) -> Callable[[], None]:
    """A forward and a backward pass; it keeps the layer's optimiser alive."""
    torch.manual_seed(0)
    layer = LAYERS[name]()
    x = torch.randn(4, TOKENS // 4, DIM, requires_grad=True)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)

    def step() -> None:
        optimizer.zero_grad()
        x.grad = None
        found = layer(x)
        y = found if isinstance(found, Tensor) else found[0]
        (y.square().mean() + routing_loss(layer)).backward()

    def passed() -> None:
        step()
        for each in layer.modules():
            if isinstance(each, UpdatedLayer):
                each.update()  # as after a step of the optimiser, whose own time is not that of the layer

    return passed


def peak(name: str) -> float:
    """MiB of a pass, in a process of its own."""
    lines = (
        "import torch",
        "from benchmarks._memory import peak_of",
        "from benchmarks.routing.speed import step_of",
        "torch.set_num_threads(1)",
        f"step = step_of({name!r})",
        "step()",
        "print(peak_of(step))",
    )
    command = [sys.executable, "-W", "ignore", "-c", "\n".join(lines)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(run.stdout.split()[-1])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    seconds = interleaved({name: step_of(name) for name in LAYERS}, arguments.rounds, "cpu")
    print(f"{device_name('cpu')}; {TOKENS} tokens, d = {DIM}, {COUNT} experts of {HIDDEN}, {K} a token")
    print(f"{'':32}{'ms':>8}{'/ dense':>10}{'/ mixture':>11}{'peak MiB':>10}")
    for name, each in seconds.items():
        to_dense, to_mixture = ratio(each, seconds["dense"]), ratio(each, seconds["mixture"])
        print(f"{name:32}{milliseconds(each):8.0f}{to_dense:10.2f}{to_mixture:11.2f}{peak(name):10.0f}")
    print(f"64 experts / 16 experts: {ratio(seconds['mixture, 64 experts'], seconds['mixture']):.2f}")
    print(f"Conditional / block: {ratio(seconds['Conditional(block, share=.5)'], seconds['block']):.2f}")
    for name in PEERS:
        if name in seconds:
            ours = "mixture, SwiGLU" if "Mixtral" in name else "mixture"
            print(f"{ours} / {name}: {ratio(seconds[ours], seconds[name]):.2f}")
        else:
            print(f"{name}: not installed")


if __name__ == "__main__":
    main()
