"""Shakespeare's plays by characters: mixtures of experts, one router after the other, against a dense model of equal FLOPs.

Causal transformers of 3 blocks (d = 128, 4 heads, context 128) see the same batches: 24 windows a step, AdamW, learning rate
3e-3 to 0 by a cosine. Mixtures have 16 experts of 256, two a token; the dense model has a layer of 520, which costs a token as
much as two experts and the router. `paired` draws its experts with a noise that falls from 1 to 0.1. `depth` has 7 blocks,
whose feed-forward layers (of 512) a seventh of the tokens passes (Conditional): less than half the FLOPs of 7 blocks, those of
the dense model. `thin` spends them otherwise: 7 blocks of 73 that all tokens pass.
Reported are nats a character on four plays that were not trained on, the largest violation of an even load (max / mean - 1)
over the last 100 steps, dead experts among all layers' 48, and the share of tokens that pass, in the last 100 steps and on the
test plays.

    python -m benchmarks.routing.characters                                  # 3 seeds of each
    python -m benchmarks.routing.characters --seeds 0 --only dense bias_balanced
"""

import argparse
import math
import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._timing import device_name
from discrete_lightning.data import Shakespeare
from discrete_lightning.estimators import ReinMax
from discrete_lightning.losses import routing_loss
from discrete_lightning.routing import TokenGate
from discrete_lightning.routing.routers import SampledRouter
from discrete_lightning.routing.training.feed_forward import DenseFeedForward, MixtureFeedForward
from discrete_lightning.routing.training.load_metrics import LoadMetrics
from discrete_lightning.routing.training.transformer import CausalTransformer
from discrete_lightning.routing.training.watched import watched_routers

CONTEXT, ROWS, RATE, LAST = 128, 24, 3e-3, 100
DENSE = MixtureFeedForward().dense()
SAMPLED = {"gates": "softmax", "balance": 0.03}
MODELS: dict[str, dict[str, Any]] = {
    "dense": {"layers": 3, "feed_forward": DENSE},
    "top_k": {"layers": 3, "feed_forward": MixtureFeedForward(router="top_k")},
    "noisy_top_k": {"layers": 3, "feed_forward": MixtureFeedForward(router="noisy_top_k")},
    "bias_balanced": {"layers": 3, "feed_forward": MixtureFeedForward(router="bias_balanced")},
    "paired": {"layers": 3, "feed_forward": MixtureFeedForward(router="paired", options=SAMPLED)},
    "reinmax": {"layers": 3, "feed_forward": MixtureFeedForward(router=ReinMax(), options=SAMPLED)},
    "remoe": {"layers": 3, "feed_forward": MixtureFeedForward(router="remoe")},
    "depth": {"layers": 7, "feed_forward": DenseFeedForward(512), "share": 1 / 7, "conditional": "feed_forward"},
    "thin": {"layers": 7, "feed_forward": DenseFeedForward(73)},
}
USUAL = ("dense", "top_k", "noisy_top_k", "bias_balanced", "paired", "depth")
NOISE = 1.0, 0.1


def cross_entropy(model: nn.Module, batch: tuple[Tensor, Tensor], reduction: str = "mean") -> Tensor:
    inputs, targets = batch
    return nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction=reduction)


def train(
    name: str, seed: int, steps: int, data: Shakespeare, device: str, windows_tested: int | None = None
) -> dict[str, float]:
    """Nats a character on the test plays, load in the last steps, and seconds of training."""
    torch.manual_seed(seed)
    model = CausalTransformer(len(data.vocabulary), CONTEXT, dim=128, heads=4, **MODELS[name]).to(device)
    windows = data.dataset("train")
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    load, start = LoadMetrics(model).to(device), time.perf_counter()
    shares: list[float] = []
    gates = [each for each in model.modules() if isinstance(each, TokenGate)]
    for each in gates:
        each.register_forward_hook(lambda gate, x, gated: shares.append(float(gated.open.float().mean())))
    noises = [each.noise for each in model.modules() if isinstance(each, SampledRouter)]
    for step in range(steps):
        for noise in noises:
            noise.set(NOISE[0] * (NOISE[1] / NOISE[0]) ** (step / steps))
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 + math.cos(math.pi * step / steps)) / 2
        chosen = order[torch.arange(step * ROWS, (step + 1) * ROWS) % len(order)]
        batch = tuple(each.to(device) for each in windows.__getitems__(chosen))
        with watched_routers(model, load.add if step >= steps - LAST else lambda name, routed: None):
            loss = cross_entropy(model, batch) + routing_loss(model).to(device)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = time.perf_counter() - start
    figures = {key: float(value) for key, value in load.figures().items()}
    if gates:
        figures["share_in_training"] = statistics.mean(shares[-LAST * len(gates) :])
        shares.clear()
    nats = test(model, data, device, windows_tested)
    if gates:
        figures["share_in_test"] = statistics.mean(shares)
    return {"nats": nats, "seconds": seconds, **figures}


@torch.no_grad()
def test(model: nn.Module, data: Shakespeare, device: str, most: int | None) -> float:
    """Nats a character on the windows of the test plays, the first `most` of them."""
    model.eval()
    windows, total, count = data.dataset("test"), 0.0, 0
    end = min(len(windows), most or len(windows))
    for start in range(0, end, 64):
        batch = windows.__getitems__(range(start, min(start + 64, end)))
        total += float(cross_entropy(model, tuple(each.to(device) for each in batch), "sum"))
        count += batch[1].numel()
    return total / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(MODELS), default=list(USUAL))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--windows", type=int, help="of the test plays; all by default")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    print(f"{arguments.steps} steps of {ROWS} x {CONTEXT} characters, {device_name(arguments.device)}")
    data = Shakespeare(CONTEXT)
    data.setup()
    found: dict[str, list[float]] = {name: [] for name in arguments.only}
    for seed in arguments.seeds:
        for name in arguments.only:
            run = train(name, seed, arguments.steps, data, arguments.device, arguments.windows)
            found[name].append(run["nats"])
            load = ""
            if "dead_experts" in run:
                load = f"   violation {run['load_violation']:.3f}   dead {run['dead_experts']:.0f}"
            if "share_in_test" in run:
                load = f"   share {run['share_in_training']:.3f} in training, {run['share_in_test']:.3f} in test"
            print(f"seed {seed}   {name:<16}{run['nats']:.4f} nats{load}   {run['seconds']:.0f} s", flush=True)
    dense = found.get("dense", [])
    for name, nats in found.items():
        below = [b - a for a, b in zip(nats, dense, strict=False)]
        shown = (
            f"   below dense by {statistics.mean(below):.4f} ({min(below):.4f} to {max(below):.4f})" if below else ""
        )
        print(f"{name:<16}mean {statistics.mean(nats):.4f}{shown if name != 'dense' else ''}")


if __name__ == "__main__":
    main()
