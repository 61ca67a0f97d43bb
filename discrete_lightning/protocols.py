"""What callbacks and functions of this package look for in a user's module: Protocols, checked by `isinstance`, and an error.

A module supports a feature by having its method. The methods have long names, so that the package does not call a method
that a user's module has for another purpose.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class OutsideFault(RuntimeError):
    """Something that a module works with, and that is none of this package, has failed in the middle of a run.

    `training.GracefulInterrupt` saves the weights, and the command line prints the message, one line, without a traceback.
    """


@runtime_checkable
class AccumulatesGradients(Protocol):
    """Optimises manually, a step for several batches: an interrupted fit is saved between its steps by `GracefulInterrupt`."""

    def has_pending_gradients(self) -> bool:
        """Whether gradients of the batches before wait for a step. Equal on all ranks."""


@runtime_checkable
class HasRankState(Protocol):
    """A callback or module with a state of this process, such as sums over the batches of an epoch so far, which the callback
    `ExactResume` saves for each rank, between batches, and restores when training goes on.

    What is equal on all ranks is better kept in the state dict.
    """

    def rank_state(self) -> Any:
        """Numbers, strings, None, tensors, and lists, tuples and dicts of them."""

    def set_rank_state(self, state: Any, device: torch.device) -> None:
        """Restores `rank_state`, after the hooks of the start of training.

        Args:
            state: as saved, on the CPU.
            device: of the module.
        """


@runtime_checkable
class ReconstructsImages(Protocol):
    """Offers pictures of reconstructions to the callback `Reconstructions`."""

    def reconstruct(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1], and what the model makes of them, of the same shape."""


@runtime_checkable
class ChecksBatches(Protocol):
    """Is compared with the data before training, by `training.check_data`."""

    def check_batch(self, batch: Any) -> None:
        """Raises ValueError if a training batch, or one of validation, does not fit the model."""


@runtime_checkable
class DecodesTokens(Protocol):
    """A module, or a data module, that offers the text of tokens to `ExpertReport`."""

    def decode_tokens(self, tokens: Tensor) -> str:
        """The text of tokens, integers (N,)."""


@runtime_checkable
class DecodesIndices(Protocol):
    """Offers images of codes to `CodebookMonitor` and to the command `decode`."""

    def decode_indices(self, indices: Tensor) -> Tensor:
        """Codes, int64 (B, h, w, ...), to images (B, C, H, W) in [0, 1]."""


@runtime_checkable
class HasSampleRate(Protocol):
    """A data module of sounds, whose rate a model of sounds compares with its own before it is used.

    Attributes:
        sample_rate: samples a second.
    """

    sample_rate: int


@runtime_checkable
class DecodesSounds(Protocol):
    """Offers sounds of codes to the command `decode`.

    Attributes:
        sample_rate: samples a second.
    """

    sample_rate: int

    def decode_samples(self, indices: Tensor) -> Tensor:
        """Codes, int64 (B, T, stages, ...), to samples (B, N) in [-1, 1]; also codes of the first stages alone."""


@runtime_checkable
class EnumeratesLoss(Protocol):
    """Offers the exact gradient to `GradientProbe`, for models of few states."""

    def enumerate_loss(self, batch: Any) -> tuple[Any, Tensor, Any]:
        """(layer, its logits (B, *event), function from samples (..., B, *event) to losses (..., B))."""


@runtime_checkable
class PrunesAfterDerive(Protocol):
    """Lets `nas.derive` remove what a derived network no longer uses."""

    def prune_after_derive(self) -> None:
        """Removes unused parts, in place. Called when each `OneOf` inside has been replaced by its decided module."""


@runtime_checkable
class RecordsArchitecture(Protocol):
    """Offers the content of architecture.json to `ArchitectureWriter`."""

    def architecture_record(self) -> dict[str, Any]:
        """The architecture as JSON can hold it."""


@runtime_checkable
class DrawsArchitecture(Protocol):
    """Offers the picture of the architecture to `ArchitectureWriter`."""

    def architecture_edges(self) -> Sequence[tuple[str, str, str, str]]:
        """For each operation: names of its source node, its target node, itself, and the cell it is in."""


@runtime_checkable
class ConfiguresRetraining(Protocol):
    """Offers the config of the next step, training the found architecture, to `ArchitectureWriter`."""

    def retraining_config(self) -> dict[str, Any]:
        """The config's entries `model` and `trainer`; the data of the search are added."""


@runtime_checkable
class OffersGatedNetwork(Protocol):
    """Offers the network that is pruned to `PrunedWriter`."""

    def gated_network(self) -> nn.Module:
        """The network with gates, which computes the module's forward pass."""


@runtime_checkable
class SummarizesArchitecture(Protocol):
    """Tells `SearchMonitor` about the derived network, where not every decided operation is part of it."""

    def architecture_skip_share(self) -> float:
        """Share of skip connections, in [0, 1], among the operations that the derived network uses; 0 if it uses none."""

    def architecture_is_disconnected(self) -> bool:
        """Whether no operation of the derived network leads from its input to its output."""


@runtime_checkable
class PreparesOracle(Protocol):
    """An oracle that has to be prepared, for example trained, before `SequenceDesigner` searches it."""

    def prepare_oracle(self) -> None:
        """Called once when fitting starts, on every rank; all ranks must arrive at the same oracle."""


@runtime_checkable
class ReadsChannelLetters(Protocol):
    """An oracle that knows which letter each of its input channels is, so that another order of letters is refused."""

    @property
    def channel_letters(self) -> str:
        """The letters in the order of the channels, with T for T or U."""


@runtime_checkable
class StatesDirection(Protocol):
    """An oracle that knows whether a higher score is better, so that a goal of the other direction is refused."""

    @property
    def higher_score_is_better(self) -> bool:
        """True: the goal is Maximize; False: the goal is Minimize. A Target is refused, too."""


@runtime_checkable
class ReportsDesigns(Protocol):
    """Offers designs to the callbacks `DesignWriter` and `SequenceLogo`."""

    def designs(self) -> list[Any]:
        """The designs (`design.Design`), best first."""


@runtime_checkable
class ReportsParetoDesigns(Protocol):
    """Offers the Pareto front to `DesignWriter`, beside the designs."""

    def pareto_designs(self) -> list[Any]:
        """The non-dominated designs; empty where there is one oracle. Raises `design.NoFront` if there is no front."""


@runtime_checkable
class DescribesDesigns(Protocol):
    """Tells `DesignWriter` what was requested, and `SequenceLogo` the alphabet and the template."""

    @property
    def requested_designs(self) -> int:
        """The number of requested designs."""

    @property
    def design_distance(self) -> int:
        """The least number of letters in which any two designs differ."""

    @property
    def design_letters(self) -> str:
        """The letters of the alphabet."""

    @property
    def design_template(self) -> str | None:
        """The sequence that was edited, or None."""


@runtime_checkable
class RecordsSearch(Protocol):
    """Offers the course of a search to `DesignTrajectory`."""

    def search_trajectory(self) -> list[Any]:
        """One `design.Progress` for each step."""


@runtime_checkable
class HasBatchSize(Protocol):
    """A data module that says how many examples a batch has, for the cost of a training step in `ArchitectureSearch`."""

    batch_size: int


@runtime_checkable
class ServesTable(Protocol):
    """A data module whose rows are those of a table, for `FeatureSelection`.

    Attributes:
        feature_names: of the columns, after `setup`.
    """

    feature_names: Sequence[str]

    def training_table(self) -> tuple[Tensor, Any]:
        """The training rows: standardised columns, float32 (n, D), and their targets (`selection.features.targets.Targets`)."""


@runtime_checkable
class CollectsStatistics(Protocol):
    """A layer whose training passes collect statistics for an update after the optimiser's step.

    Attributes:
        collects: False in a copy that no optimiser trains.
    """

    collects: bool


@runtime_checkable
class PredictsTokens(Protocol):
    """A causal model of tokens, for `text.generate` and `text.sample_sequences`. If it has an attribute `context`, an integer,
    that is the most tokens that it takes, those in the cache counted."""

    def logits(self, tokens: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        """Logits (B, S, V) of the token after each of the tokens, integers (B, S), that follow those in the cache; and the
        cache after them."""
