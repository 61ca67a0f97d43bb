"""Keyed noise: the noise of an element is a pure function of (seed, step, draw, example, element).

    draw     the how-manieth call that needs noise it is within its step
    example  its index in the global batch, whatever rank holds it
    element  its place within the example

As with JAX's keys (Salmon et al. 2011, https://doi.org/10.1145/2063384.2063405) nothing is left of a generator's state, so
that any number of ranks and a resumed run draw the same. The model: _keyed_words.py.

**Which draw it is** must come out the same where a forward pass is made again (activation checkpointing), so it cannot just
be counted. Each call takes a number from the default generator of the CPU, which checkpointing restores, eagerly and under
torch.compile: a number seen before in this step is a call seen before. Its value plays no part in the noise.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor

from discrete_lightning.functional._keyed_words import GAMMA, KeyedWords, mix, mix_number, signed
from discrete_lightning.functional._torch_private import in_backward

_DRAW = 0xD1342543DE82EF95  # an odd constant: the draws of one call are that far apart


class Keys:
    """The step in force.

    Attributes:
        examples: int64 (B,), what tells the examples of this process from all others of the step; None where that is not
            known.
        shared: whether noise is that of the batch instead.
    """

    def __init__(self) -> None:
        self.examples: Tensor | None = None
        self.shared = False
        self.key = 0
        self._calls: dict[int, tuple[int, Tensor | None]] = {}

    def begin(self, key: int, examples: Tensor | None) -> None:
        """Begins a step, whose noise is that of `key`, of 64 bits."""
        self.key, self.examples, self.shared = key, examples, False
        self._calls = {}

    def has_seen(self) -> bool:
        """Whether the next call is one that is made again."""
        state = torch.get_rng_state()
        number = int(torch.randint(2**62, (), device="cpu"))
        torch.set_rng_state(state)
        return number in self._calls

    def call(self, examples: Tensor | None = None) -> tuple[int, Tensor | None]:
        """The key of a call that needs noise, and its examples: the same again where a forward pass is made again."""
        number = int(torch.randint(2**62, (), device="cpu"))
        if number not in self._calls:
            if in_backward():
                raise RuntimeError(
                    "keyed noise: a forward pass is made again for a gradient, and its noise is not that of this step. Either "
                    "its step is over: compute the gradients of a step before the next one begins; or checkpoint(...) got "
                    "preserve_rng_state=False: leave it True, the noise is told apart by it"
                )
            self._calls[number] = len(self._calls) + 1, examples
        count, before = self._calls[number]
        if in_backward():
            examples = before
        else:  # as after a measurement that put the generator's state back
            self._calls[number] = count, examples
        return mix_number(self.key + count * GAMMA), examples


class _Force:
    """What is in force in this process. No thread of its own: backward passes of accelerators have other threads."""

    def __init__(self) -> None:
        self.keys: Keys | None = None
        self.left: Keys | None = (
            None  # the last that was left, of which a backward pass may still make a forward pass again
        )


force = _Force()


@contextmanager
def unkeyed() -> Iterator[None]:
    """Within the `with` block no keyed noise is in force: for measurements on other examples than the batch's."""
    before = force.keys, force.left
    force.keys = force.left = None
    try:
        yield
    finally:
        force.keys, force.left = before


def is_keyed() -> bool:
    """Whether keyed noise is in force."""
    if force.keys is not None:
        return True
    return force.left is not None and not torch.compiler.is_compiling() and in_backward() and force.left.has_seen()


def _in_force() -> Keys:
    keys = force.left if force.keys is None else force.keys
    if keys is None:
        raise RuntimeError(
            "keyed noise: a compiled function that was traced within keyed_noise is called outside of it"
        )
    return keys


# One operation to torch.compile, which gives operations of its own other noise. Two calls without an argument would be taken
# for one. By its tag the operation is not made again unless the generator's state is restored.
@torch.library.custom_op("discrete_lightning::keyed_call", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,))
def _call(unique: Tensor) -> Tensor:  # noqa: ARG001
    return torch.tensor(signed(_in_force().call()[0]))


@_call.register_fake
def _(unique: Tensor) -> Tensor:
    return torch.empty((), dtype=torch.int64, device=unique.device)


class KeyedGenerator:
    """Takes the place of a torch.Generator in the functions of this package.

    Rows of noise are (outer, examples, positions): those of all examples, `outer` times over. What else a position draws comes
    behind it, so that the noise of an example's first positions does not depend on how many others there are.

    Args:
        call: 0-dim int64 on the CPU, the key of this call.
        examples: int64 (B,), see `Keys`; None: one for all ranks.
        outer: see above.
    """

    def __init__(self, call: Tensor, examples: Tensor | None, outer: int = 1) -> None:
        self.call, self.examples, self.outer = call, examples, outer
        self.drawn: int = 0

    def repeated(self, times: int) -> "KeyedGenerator":
        """A generator for rows (times, *rows), to be used in place of this one for one draw."""
        self.drawn += 1
        return KeyedGenerator(mix(self.call + signed(self.drawn * _DRAW)), self.examples, times * self.outer)

    def words(self, shape: Sequence[int], event: int, device: torch.device) -> KeyedWords:
        """The random words of a draw.

        Args:
            shape: (*rows, *event).
            event: number of the last dimensions that are not rows.
            device: where they are needed.

        Raises:
            ValueError: if the rows are not a multiple of the examples.
        """
        self.drawn += 1
        draw = self.call + signed(self.drawn * _DRAW)
        examples = self.examples
        if examples is None:
            examples = torch.zeros(1, dtype=torch.int64, device=device)
        else:
            self._check(shape, len(shape) - event, len(examples))
        draw = mix(draw)
        if self.outer > 1:
            draw = mix(draw + torch.arange(self.outer)).unsqueeze(1).to(device)
        a = mix(draw + (examples.to(device) + 1) * signed(GAMMA)).flatten()
        keys = torch.stack([a, mix(a + signed(GAMMA))])
        count = 1
        for size in shape:
            count = count * size
        return KeyedWords(keys, count // max(1, self.outer * len(examples)))

    def seed(self) -> Tensor:
        """The key of a call, of 62 bits, 0-dim int64 on the CPU: equal on all ranks. Who uses it as a key gives the rows."""
        self.drawn += 1
        return mix(self.call + signed(self.drawn * _DRAW)) & (2**62 - 1)

    def _check(self, shape: Sequence[int], rows: int, examples: int) -> None:
        passed, examples = 1, max(1, examples)
        for size in shape[:rows]:
            if passed == self.outer and size % examples == 0:
                return
            passed = passed * size
            if passed > self.outer and passed % (self.outer * examples) == 0:
                return
            if self.outer == 1:
                break
        if examples == 1 or passed == 0:
            return
        raise ValueError(
            f"keyed noise: a draw of shape {tuple(shape)} does not divide among the {examples} examples of this batch. Its "
            "first dimension must be the examples, or examples x positions. For noise that a batch shares, and for rows "
            "that were picked out, say whose it is: `with keyed_examples(...)`"
        )


def spread(examples: Tensor, rows: Tensor, count: int) -> Tensor:
    """What tells rows that were picked out apart, int64 (R,): a hash of the example and the position.

    Args:
        examples: int64 (B,).
        rows: int64 (R,), their numbers among `count` rows.
        count: a multiple of B.
    """
    positions = max(1, count // max(1, len(examples)))
    if positions * len(examples) != count:
        raise ValueError(f"keyed noise: {count} rows do not divide among the {len(examples)} examples of this batch")
    rows = rows.to(examples.device)
    return mix(mix(examples + signed(GAMMA))[rows // positions] + rows % positions)


def new_generator(examples: Tensor | None) -> KeyedGenerator:
    """A generator for one call. The call counts, whether or not noise is drawn."""
    if torch.compiler.is_compiling():
        return KeyedGenerator(_call(torch.empty((), device="cpu")), examples)  # an empty tensor equals no other
    key, examples = _in_force().call(examples)
    return KeyedGenerator(torch.tensor(signed(key)), examples)


def examples_in_force() -> Tensor:
    """What tells the examples of this process apart, int64 (B,); (1,) where the batch shares its noise.

    Raises:
        ValueError: if that is not known.
    """
    keys = _in_force()
    if keys.shared:
        return torch.zeros(1, dtype=torch.int64)
    if keys.examples is None:
        raise ValueError(
            "keyed noise: the number of examples in the batch is not known. Give `examples` to keyed_noise or KeyedNoise"
        )
    return keys.examples


def keyed_generator(shared: bool = False) -> torch.Generator:
    """The generator of a layer's call, where keyed noise is in force.

    Args:
        shared: whether the noise is that of the batch, equal on all ranks.
    """
    return cast(torch.Generator, new_generator(None if shared or _in_force().shared else examples_in_force()))


def in_place_of(generator: torch.Generator | None) -> torch.Generator | None:
    """`generator`, or the keyed one where none was given and keyed noise is in force.

    A function that draws twice begins with it, so that both are of one call: a compiler moves what the backward pass alone
    needs there, and a call that takes place there is not known.
    """
    return keyed_generator() if generator is None and is_keyed() else generator


def of_batch(generator: torch.Generator | None) -> torch.Generator | None:
    """`generator`, or where none was given and keyed noise is in force, one for noise that the batch shares."""
    return keyed_generator(shared=True) if generator is None and is_keyed() else generator


def seeded(device: torch.device, seed: int) -> torch.Generator:
    """A generator of the seed for evaluation; where keyed noise is in force that of the next call instead."""
    return keyed_generator() if is_keyed() else torch.Generator(device=device).manual_seed(seed)


def words_of(
    generator: torch.Generator | None, shape: Sequence[int], event: int, device: torch.device | str | None
) -> KeyedWords | None:
    """The words of one draw of a keyed generator, see `KeyedGenerator.words`; None of any other generator."""
    if isinstance(generator, KeyedGenerator):
        return generator.words(shape, event, torch.device("cpu") if device is None else torch.device(device))
    return None


def repeated(generator: torch.Generator | None, times: int) -> torch.Generator | None:
    """A generator for draws of shape (times, *rows) in place of (*rows)."""
    generator = in_place_of(generator)
    if isinstance(generator, KeyedGenerator):
        return cast(torch.Generator, generator.repeated(times))
    return generator
