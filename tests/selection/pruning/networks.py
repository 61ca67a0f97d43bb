"""One small network for each topology that `derive` knows, in float64 with random weights and random statistics of norms."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from discrete_lightning.selection import Gate, HardConcrete, StochasticGate, gate_layers
from discrete_lightning.selection.ties import Part, tie

Made = tuple[nn.Module, Tensor]


def conv_chain() -> Made:
    a, n, b = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, 3, 3, padding=1)
    gate = Gate(6, dim=1).between(a, [n], b)
    return nn.Sequential(a, n, gate, nn.ReLU(), b), torch.randn(2, 2, 7, 5)


def strided_without_norm() -> Made:
    a, b = nn.Conv2d(2, 6, 3, stride=2, bias=False), nn.Conv2d(6, 4, 1)
    return nn.Sequential(a, HardConcrete(6, dim=1).between(a, [], b), nn.GELU(), b), torch.randn(2, 2, 9, 9)


def one_dimension() -> Made:
    a, n, p, b = nn.Conv1d(2, 6, 3), nn.InstanceNorm1d(6, affine=True), nn.PReLU(6), nn.ConvTranspose1d(6, 3, 2)
    gate = tie(Gate(6, dim=1), [a], [n, p], [b])
    return nn.Sequential(a, n, p, gate, b), torch.randn(2, 2, 9)


def transposed() -> Made:
    a, n, b = nn.ConvTranspose2d(2, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 3)
    return nn.Sequential(a, n, Gate(6, dim=1).between(a, [n], b), nn.ReLU(), b), torch.randn(2, 2, 4, 4)


def mlp() -> Made:
    a, n, b, c = nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 6, bias=False), nn.Linear(6, 2)
    first, second = StochasticGate(8).between(a, [n], b), Gate(6).between(b, [], c)
    return nn.Sequential(a, n, first, nn.ReLU(), b, second, nn.Tanh(), c), torch.randn(4, 5)


def inputs() -> Made:
    a = nn.Linear(8, 3)
    return nn.Sequential(tie(Gate(8), consumers=[a]), a), torch.randn(4, 8)


def behind_a_layer_norm() -> Made:
    a = nn.Linear(8, 3)
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), tie(Gate(8), consumers=[a]), a), torch.randn(4, 4)


def flattened() -> Made:
    a, n, b = nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.Linear(5 * 4, 3)
    gate = Gate(5, dim=1).between(a, [n], b)
    return nn.Sequential(a, n, gate, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), b), torch.randn(2, 1, 6, 6)


def depthwise() -> Made:
    a, d, n, b = nn.Conv2d(2, 6, 1), nn.Conv2d(6, 12, 3, groups=6), nn.BatchNorm2d(12), nn.Conv2d(12, 3, 1)
    gate = tie(Gate(6, dim=1, width=2), [Part(a, width=1)], [Part(d, width=1), n], [b])
    return nn.Sequential(a, nn.ReLU(), d, n, gate, nn.ReLU(), b), torch.randn(2, 2, 6, 6)


class _Heads(nn.Module):
    """Causal attention that takes the number of heads from the size of its projections."""

    def __init__(self, dim: int = 8, heads: int = 4, separate: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.width = dim // heads
        shapes = [(dim, dim)] * 3 if separate else [(dim, 3 * dim)]
        self.qkv = nn.ModuleList(nn.Linear(*shape, bias=bias) for shape in shapes)
        self.out = nn.Linear(dim, dim)
        self.gate = tie(Gate(heads, width=self.width), list(self.qkv), consumers=[self.out])

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.cat([each(x) for each in self.qkv], -1).chunk(3, -1)
        q, k, v = (each.unflatten(-1, (-1, self.width)).transpose(1, 2) for each in parts)
        seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(self.gate(seen.transpose(1, 2).flatten(-2)))


def heads() -> Made:
    return nn.Sequential(nn.LayerNorm(8), _Heads()), torch.randn(2, 5, 8)


def separate_heads() -> Made:
    return _Heads(separate=True, bias=False), torch.randn(2, 5, 8)


class _Counted(nn.Module):
    """Attention that keeps its number of heads, and multiplies matrices itself."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 4
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.gate = tie(Gate(4, width=2), [self.qkv], consumers=[self.out], counts=[(self, "heads")])

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in self.qkv(x).chunk(3, -1))
        seen = (q @ k.transpose(-1, -2)).softmax(-1) @ v
        return self.out(self.gate(seen.transpose(1, 2).flatten(-2)))


def counted_heads() -> Made:
    return _Counted(), torch.randn(2, 5, 8)


class _Residual(nn.Module):
    """x + gate(branch(x))."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch, self.gate = branch, tie(Gate(1, dim=1), block=self)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate(self.branch(x).flatten(1).unsqueeze(1)).view_as(x)


def inner_channels() -> Made:
    a, n, b = nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3, padding=1)
    gate = Gate(6, dim=1).between(a, [n], b)
    block = _Residual(nn.Sequential(a, n, gate, nn.ReLU(), b))
    return nn.Sequential(nn.Conv2d(2, 4, 1), block, nn.ReLU()), torch.randn(2, 2, 5, 5)


def blocks() -> Made:
    layers: list[nn.Module] = [nn.Linear(3, 4)]
    for _ in range(3):
        a, b = nn.Linear(4, 6), nn.Linear(6, 4)
        layers.append(_Residual(nn.Sequential(nn.LayerNorm(4), a, Gate(6).between(a, [], b), nn.ReLU(), b)))
    layers.append(_Residual(nn.Sequential(_Residual(nn.Linear(4, 4)))))
    return nn.Sequential(*layers), torch.randn(2, 3)


class _Stage(nn.Module):
    """A stage of two residual blocks: one group of gates for all that is added, and inner gates."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.inner = nn.ModuleList(nn.Conv2d(6, 4, 3, padding=1) for _ in range(2))
        self.outer = nn.ModuleList(nn.Conv2d(4, 6, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(6) for _ in range(2))
        self.same = nn.Conv2d(6, 6, 1, bias=False)  # makes and takes entries of one group
        self.head = nn.Linear(6, 3)
        self.stage = tie(
            Gate(6, dim=1),
            [self.stem, *self.outer, self.same],
            [self.norm, *self.norms],
            [*self.inner, self.same, self.head],
        )
        self.gates = nn.ModuleList(
            HardConcrete(4, dim=1).between(a, [], b) for a, b in zip(self.inner, self.outer, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage(self.norm(self.stem(x))).relu()
        for inner, gate, outer, norm in zip(self.inner, self.gates, self.outer, self.norms, strict=True):
            x = (x + self.stage(norm(outer(gate(inner(x)).relu())))).relu()
        x = x + self.stage(self.same(x))
        return self.head(x.mean((2, 3)))


def residual_stage() -> Made:
    return _Stage(), torch.randn(2, 2, 6, 6)


class _Concatenated(nn.Module):
    """Two branches and the input, concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 5, 1), nn.Conv2d(2, 4, 1), nn.Conv2d(11, 3, 1)
        self.norm = nn.BatchNorm2d(9)
        self.first = tie(Gate(5, dim=1), [self.a], [Part(self.norm)], [Part(self.c)])
        self.second = tie(Gate(4, dim=1), [self.b], [Part(self.norm, 5)], [Part(self.c, 5)])

    def forward(self, x: Tensor) -> Tensor:
        both = self.norm(torch.cat([self.a(x), self.b(x)], 1))
        sizes = [self.a.out_channels, self.b.out_channels]
        a, b = both.split(sizes, 1)
        return self.c(torch.cat([self.first(a), self.second(b), x], 1))


def concatenated() -> Made:
    return _Concatenated(), torch.randn(2, 2, 4, 4)


class _Tokens(nn.Module):
    """An embedding whose entries are gated, and a layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.inner, self.back = nn.Embedding(7, 6), nn.Linear(6, 5), nn.Linear(5, 6)
        self.head = nn.Linear(6, 2)
        self.gate = tie(Gate(6), [self.embedding, self.back], consumers=[self.inner, self.head])

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.gate(self.embedding(tokens))
        for _ in range(2):
            x = x + self.gate(self.back(self.inner(x).relu()))
        return self.head(x)


def embedded() -> Made:
    return _Tokens(), torch.randint(7, (2, 5))


TOPOLOGIES: dict[str, Callable[[], Made]] = {
    each.__name__: each
    for each in (
        conv_chain, strided_without_norm, one_dimension, transposed, mlp, inputs, behind_a_layer_norm, flattened, depthwise,
        heads, separate_heads, counted_heads, inner_channels, blocks, residual_stage, concatenated, embedded,
    )
}  # fmt: skip


def build(name: str, seed: int = 0) -> Made:
    """A network in float64 with random statistics of its norms, in eval(), and an input."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network, example = TOPOLOGIES[name]()
        network.double().eval()
        for each in network.modules():
            for key, tensor in [*each.named_parameters(recurse=False), *each.named_buffers(recurse=False)]:
                if key == "running_var":
                    tensor.uniform_(0.5, 2)
                elif tensor.is_floating_point() and not hasattr(each, "decision"):
                    nn.init.normal_(tensor, 0, 0.5)
    return network, example.double() if example.is_floating_point() else example


def decide(network: nn.Module, seed: int) -> None:
    """A random decision: about half of the gates, at least one of each layer that needs one; 0: all, 1: as few as possible."""
    generator = torch.Generator().manual_seed(seed)
    for each in gate_layers(network).values():
        share = {0: -1.0, 1: 2.0}.get(seed, 0.5)
        open = torch.rand(each.size, generator=generator) > share
        if each.least and not open.any():
            open[int(torch.randint(each.size, (1,), generator=generator))] = True
        each.decide(open)
