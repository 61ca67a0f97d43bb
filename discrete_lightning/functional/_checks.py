"""Input checks of the sampling functions: a clear error at the call instead of a NaN later on."""

from numbers import Real

import torch
from torch import Tensor

from discrete_lightning.functional._torch_private import under_functorch

# the reciprocal of a smaller temperature is infinite in float32
_LOWEST_TAU, _HIGHEST_TAU = 2.0**-127, torch.finfo(torch.float32).max


def is_traced() -> bool:
    """Whether torch.compile or a torch.func transform runs: then Python cannot depend on values, and bits cannot be viewed."""
    return torch.compiler.is_compiling() or under_functorch()


def values_can_be_read(x: Tensor) -> bool:
    """Whether values of `x` can be read without waiting: on the CPU, outside of torch.compile and of torch.func transforms.

    On an accelerator each read would wait for the device. There a NaN is passed on, so that it shows in the loss.
    """
    return x.device.type == "cpu" and not is_traced()


def host_number(x: float | Tensor) -> float:
    """A number, or the value of a 0-dim tensor on the CPU, read past torch's dispatcher, where `.item()` would look like a
    read that stops an accelerator to whoever counts them."""
    if not isinstance(x, Tensor):
        return x
    if type(x) not in (Tensor, torch.nn.Parameter):  # a sharded one, or one that pretends
        return x.item()
    x = x.detach()
    number: float = (x.float() if x.dtype == torch.bfloat16 else x).numpy().item()
    return number


def check_tau(tau: float | Tensor, name: str = "tau", *, logits: Tensor | None = None, dim: int | None = -1) -> None:
    """Raises ValueError unless `tau` is positive, and float32 can hold it and divide by it.

    Args:
        tau: a number or a 0-dim tensor, or one of each row of `logits`.
        name: what the caller calls it.
        logits: what it divides; without them `tau` has no dimension.
        dim: of the categories, where the shape of `tau` has a 1; None if each logit is a variable of its own.
    """
    if isinstance(tau, Tensor):
        _check_tau_shape(tau, name, logits, dim)
        if tau.is_complex() or tau.dtype == torch.bool:
            raise ValueError(f"{name} must be a real number, got a tensor of {tau.dtype}")
        if not tau.numel() or not values_can_be_read(tau):
            return
        if tau.ndim:  # the first that is wrong, if any is
            tau = tau.detach().flatten()
            right = (tau >= _LOWEST_TAU) & (tau <= _HIGHEST_TAU)
            tau = tau[right.to(torch.uint8).argmin()]
        tau = host_number(tau)
    elif not isinstance(tau, Real | torch.SymFloat):
        raise ValueError(f"{name} must be a number or a tensor, got {tau!r} of type {type(tau).__name__}")
    if not 0.0 < tau < float("inf"):
        raise ValueError(
            f"{name} must be positive and finite, got {tau}; the limit tau -> 0 is `hard=True` or gumbel_max"
        )
    if not _LOWEST_TAU <= tau <= _HIGHEST_TAU:
        bound, size = ("least 5.9e-39", "small") if tau < _LOWEST_TAU else ("most 3.4e38", "large")
        raise ValueError(
            f"{name} must be at {bound}, got {tau}: it is too {size} for float32, in which probabilities are computed; "
            "the limit tau -> 0 is `hard=True` or gumbel_max"
        )


def _check_tau_shape(tau: Tensor, name: str, logits: Tensor | None, dim: int | None) -> None:
    """Raises ValueError unless `tau` is 0-dim, or broadcasts to one number a row."""
    if not tau.ndim:
        return
    if logits is None:
        raise ValueError(f"{name} must be a number or a 0-dim tensor, got a tensor of shape {tuple(tau.shape)}")
    rows = list(logits.shape)
    if dim is not None and rows:
        rows[dim] = 1
    fits = tau.ndim <= len(rows) and all(
        mine in (1, size) for mine, size in zip(reversed(tau.shape), reversed(rows), strict=False)
    )
    if not fits:
        raise ValueError(
            f"{name} must be a number, a 0-dim tensor, or a tensor that broadcasts to {tuple(rows)}, one temperature a row, "
            f"for logits of shape {tuple(logits.shape)}; got shape {tuple(tau.shape)}"
        )


def as_indices(indices: Tensor, name: str = "indices") -> Tensor:
    """`indices` of any integer dtype as int64.

    Raises:
        ValueError: if they are not integers.
    """
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise ValueError(f"{name} must be integers, got {indices.dtype}: convert them with {name}.long()")
    return indices.to(torch.int64)


def check_real(x: Tensor, name: str) -> None:
    """Raises ValueError if the tensor is complex."""
    if x.is_complex():
        raise ValueError(f"{name} must be real, got {x.dtype}")


def check_floating(x: Tensor, name: str = "logits") -> None:
    """Raises ValueError unless the tensor is floating; `name` is what the caller calls it."""
    check_real(x, name)
    if not x.is_floating_point():
        raise ValueError(f"{name} must be floating, got {x.dtype}: convert them with {name}.float()")


def check_categories(logits: Tensor, dim: int, name: str = "logits") -> None:
    """Raises ValueError unless `logits` are floating and have at least one category along `dim`."""
    check_floating(logits, name)
    if not logits.ndim or not logits.shape[dim]:
        raise ValueError(f"no category to choose from: {name} of shape {tuple(logits.shape)}, dim {dim}")


def check_rows(probabilities: Tensor, logits: Tensor, dim: int, name: str = "logits") -> None:
    """Raises ValueError if a row of a softmax came out NaN, naming what was wrong with its logits.

    One NaN (or +inf, or only -inf) makes its whole row NaN, so it is enough to check one entry a row.
    """
    if not probabilities.numel() or not values_can_be_read(probabilities):
        return
    bad = probabilities.detach().select(dim, 0).isnan()
    if not host_number(bad.any()):
        return
    nan = int(logits.isnan().any(dim).sum())
    positive = int(logits.isposinf().any(dim).sum())
    empty = int(logits.isneginf().all(dim).sum())
    raise ValueError(
        f"{int(bad.sum())} of {bad.numel()} rows of {name} have no distribution: {nan} hold NaN, {positive} hold +inf, "
        f"{empty} are -inf throughout (every category masked); shape {tuple(logits.shape)}, dim {dim}. "
        "Look for a diverged loss (lower the learning rate, clip gradients) or for a mask that leaves no category."
    )


def check_weights(weights: Tensor, name: str, *, empty: bool = True) -> None:
    """Raises ValueError unless all weights are finite and >= 0; with `empty=False` each row also needs a positive sum."""
    if not weights.numel() or not values_can_be_read(weights):
        return
    values = weights.detach()
    largest = values.amax(-1)
    if not host_number((values.min() >= 0) & (largest.max() < torch.inf)):
        bad = int((~((values >= 0) & (values < torch.inf))).sum())
        raise ValueError(f"{name} must be >= 0 and finite, got {bad} of {values.numel()} that are not")
    if not empty and not host_number(largest.all()):
        nothing = int((largest == 0).sum())
        raise ValueError(f"{nothing} of {largest.numel()} rows of {name} are 0 throughout: nothing can be drawn")


def check_one_kind(binary: bool, k: int | None) -> None:
    """Raises ValueError if both a binary sample and a subset of k categories are requested."""
    if binary and k is not None:
        raise ValueError(f"a sample is either binary or a subset of k={k} categories: give `binary` or `k`, not both")


def check_subset_rows(valid: Tensor, logits: Tensor, k: int) -> None:
    """Raises ValueError if `valid`, one float a row, has a NaN: that row of logits (..., K) has no subset of k categories."""
    if not valid.numel() or not values_can_be_read(valid):
        return
    bad = host_number(valid.detach().isnan().sum())
    if not bad:
        return
    nan = int(logits.isnan().any(-1).sum())
    positive = int(logits.isposinf().any(-1).sum())
    few = int(((~logits.isneginf()).sum(-1) < k).sum())
    raise ValueError(
        f"{bad} of {valid.numel()} rows of logits have no distribution over subsets of k={k}: {nan} hold NaN, {positive} "
        f"hold +inf, {few} have fewer than {k} categories that are not masked (-inf); shape {tuple(logits.shape)}. "
        "Look for a diverged loss (lower the learning rate, clip gradients), or mask fewer categories, or lower k."
    )


def check_elements(logits: Tensor) -> None:
    """Raises ValueError if a Bernoulli logit is not floating, or NaN (infinite ones are fine: probability 0 or 1)."""
    check_floating(logits)
    if values_can_be_read(logits) and (bad := host_number(logits.detach().isnan().sum())):
        raise ValueError(
            f"{bad} of {logits.numel()} Bernoulli logits are NaN; shape {tuple(logits.shape)}. "
            "Look for a diverged loss (lower the learning rate, clip gradients)."
        )


def check_finite(vectors: Tensor, what: str) -> None:
    """Raises ValueError unless the vectors (..., D) are floating and finite; `what` names the caller in the message."""
    check_floating(vectors, "vectors")
    if values_can_be_read(vectors) and not host_number((finite := vectors.detach().isfinite()).all()):
        bad = int((~finite).any(-1).sum())
        raise ValueError(
            f"{what}: {bad} of {vectors[..., 0].numel()} vectors to quantise are not finite (input of shape "
            f"{tuple(vectors.shape)}); look for a diverged encoder: lower the learning rate, clip gradients"
        )
