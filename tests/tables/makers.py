"""One table of makers for each kind of thing that users import: what is exported is tested.

A new public name is in the table of its kind by itself if it can be built without an argument. Else
`test_exports.py` fails and says to add it to ARGUMENTS here, or to ELSEWHERE with the file that tests it. Quantisers have a
table of their own, tests/vq/quantizers/makers.py.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from discrete_lightning import callbacks, control, estimators, losses, metrics, models, text
from discrete_lightning import nn as layers
from discrete_lightning.estimators import Estimator
from discrete_lightning.schedules import Linear
from tests.tiny_images import FAST, SPACE
from tests.vq.quantizers.makers import ALL, SINGLE

FACES: dict[str, Any] = {
    "nn": layers,
    "losses": losses,
    "metrics": metrics,
    "callbacks": callbacks,
    "models": models,
    "estimators": estimators,
}

# Names that no table holds, and the file that tests them: bases, return values, functions, descriptions.
ELSEWHERE = {
    # bases: what they do is seen in each of their subclasses
    "Annealing": "tests/training/test_annealing.py",
    "Codebook": "tests/vq/quantizers/test_quantizers.py",
    "CompositeQuantizer": "tests/vq/quantizers/test_quantizers.py",
    "DesignCallback": "tests/design/training/test_designer.py",
    "DiscreteVAE": "tests/vae/training/test_discrete_vae.py",
    "Estimator": "tests/estimators/test_expectation.py",
    "FixedDtype": "tests/layers/test_temperature.py",
    "Float32State": "tests/layers/test_temperature.py",
    "update_after_step": "tests/routing/test_counting.py",
    "update_codebooks_after_step": "tests/vq/quantizers/test_whose_step.py",
    "Experts": "tests/routing/test_experts.py",
    "Router": "tests/routing/test_routers.py",
    "NearestCodeQuantizer": "tests/vq/quantizers/test_quantizers.py",
    "Quantizer": "tests/vq/quantizers/test_quantizers.py",
    "Relaxed": "tests/layers/test_relaxed.py",
    "SearchMethod": "tests/nas/training/test_search.py",
    "SearchSpace": "tests/nas/spaces/test_search_spaces.py",
    # values
    "CostTarget": "tests/nas/training/test_search.py",
    "Choices": "tests/layers/test_choice_use.py",
    "ExpertMLP": "tests/routing/test_experts.py",
    "Routed": "tests/routing/test_routers.py",
    "Draw": "tests/nas/test_choice.py",
    "LayerChain": "tests/nas/spaces/test_search_spaces.py",
    "Edge": "tests/nas/spaces/test_search_spaces.py",
    "Quantized": "tests/vq/quantizers/test_quantizers.py",
    "Reconstruction": "tests/vq/training/test_autoencoder.py",
    "SearchOptimizers": "tests/nas/training/test_search.py",
    # methods of a search, which are arguments of the model ArchitectureSearch
    "DARTS": "tests/nas/training/test_search.py",
    "GDAS": "tests/nas/training/test_search.py",
    "SNAS": "tests/nas/training/test_search.py",
    "Sampled": "tests/nas/training/test_search.py",
    "SecondOrderDARTS": "tests/nas/training/test_search.py",
    # spaces build networks, which are modules (see "supernet" below)
    "DARTSSpace": "tests/nas/spaces/test_search_spaces.py",
    "InvertedResidualSpace": "tests/nas/spaces/test_search_spaces.py",
    "NASBench201": "tests/nas/spaces/test_search_spaces.py",
    "SearchNetwork": "tests/nas/spaces/test_search_spaces.py",
    # take integers, and give logits and a cache
    "GRUNetwork": "tests/text/test_networks.py",
    "TokenNetwork": "tests/text/test_networks.py",
    "TransformerNetwork": "tests/text/test_networks.py",
    # its steps are lines of its own, not batches
    "LineWriter": "tests/text/training/test_word_optimizer.py",
    "WordOptimizer": "tests/text/training/test_word_optimizer.py",
    # judges and what they learn from, arguments of JudgedGenerator
    "ClassifierJudge": "tests/text/test_judges.py",
    "Judge": "tests/text/test_judges.py",
    "LanguageJudge": "tests/text/test_judges.py",
    "KindOfPlay": "tests/text/training/test_judged_generator.py",
    "OtherText": "tests/text/training/test_judged_generator.py",
    # takes what a router returns, and gives several figures
    "ExpertLoad": "tests/routing/test_expert_load.py",
    # take lines of text
    "CopiedRuns": "tests/text/metrics/test_copied_runs.py",
    "DistinctLines": "tests/text/metrics/test_distinct.py",
    "DistinctN": "tests/text/metrics/test_distinct.py",
    "SelfBLEU": "tests/text/metrics/test_self_bleu.py",
    "NormalizedMutualInformation": "tests/routing/test_mutual_information.py",
    # needs a model of tokens, and data that decodes them
    "ExpertReport": "tests/routing/training/test_expert_report.py",
    # need a module with gates
    "Budget": "tests/selection/training/test_budget.py",
    "GateMonitor": "tests/selection/training/test_gate_monitor.py",
    "PrunedWriter": "tests/selection/training/test_pruned_writer.py",
    "CountedText": "tests/text/training/test_commands.py",
    "TextWriter": "tests/text/training/test_commands.py",
    "VerseReport": "tests/test_configs.py",
    "SelectionReport": "tests/selection/training/test_selection_report.py",
    # networks of images or tokens
    "DerivedNetwork": "tests/selection/pruning/test_networks.py",
    "GatedConvNet": "tests/selection/pruning/test_networks.py",
    "GatedTransformer": "tests/selection/pruning/test_networks.py",
    # make the feed-forward layers of a model
    "DenseFeedForward": "tests/routing/training/test_transformer.py",
    "MixtureFeedForward": "tests/routing/training/test_transformer.py",
    # run on rows that are sorted by expert; MixtureOfExperts holds them
    "StackedMLP": "tests/routing/test_experts.py",
    "StackedModules": "tests/routing/test_experts.py",
    # act on modules, and on what is on them
    "kept_weight_bonus": "tests/selection/test_pattern_mask.py",
    "mask_linear": "tests/selection/test_pattern_mask.py",
    "remove_masks": "tests/selection/test_pattern_mask.py",
    # a plain network: its results are of its weights' dtype
    "ControlMLP": "tests/control/test_policy.py",
    # act, or take rollouts
    "ActionChoice": "tests/control/test_policy.py",
    "CategoricalPolicy": "tests/control/test_policy.py",
    "CountBonus": "tests/control/bonuses/test_counts.py",
    "IntrinsicBonus": "tests/control/bonuses/test_counts.py",
    "EpisodeWriter": "tests/control/training/test_episode_writer.py",
    "ReturnCurves": "tests/control/training/test_episode_writer.py",
    "TargetEntropy": "tests/control/test_target_entropy.py",
    # always float32, and trained by statistics alone
    "LogitNorm": "tests/control/test_logit_norm.py",
    "RunningNorm": "tests/control/test_running_norm.py",
    # functions
    "clipped_value_loss": "tests/control/test_ppo_losses.py",
    "generalized_advantage": "tests/control/test_advantage.py",
    "ppo_clip": "tests/control/test_ppo_losses.py",
    "balance_loss": "tests/routing/test_losses.py",
    "kl_to_reference": "tests/functional/test_kl_to_reference.py",
    "policy_gradient": "tests/functional/test_policy_gradient.py",
    "routing_loss": "tests/routing/test_losses.py",
    "upcycle": "tests/routing/test_upcycle.py",
    "choices_made": "tests/layers/test_choice_use.py",
    "relaxed": "tests/layers/test_relaxed.py",
    "use_estimator": "tests/layers/test_relaxed.py",
}

# How to build what needs arguments
ARGUMENTS: dict[str, Callable[[], Any]] = {
    "ArchitectureChoice": lambda: layers.ArchitectureChoice(["a", "b", "c"], 2),
    "ArchitectureTraining": lambda: models.ArchitectureTraining(SPACE, ["conv3x3"] * SPACE.choices),
    "ArchitectureSearch": lambda: models.ArchitectureSearch(None, SPACE, optimizers=FAST),
    "BiasBalancedRouter": lambda: layers.BiasBalancedRouter(4, 5, 2, speed=0.1),
    "ConcreteSelector": lambda: layers.ConcreteSelector(2, 4),
    "LearnedTemperature": lambda: models.LearnedTemperature(betas=[0.1, 0.3]),
    "PolicyGradient": lambda: models.PolicyGradient(
        control.PPO(epochs=2, batch_size=8), hidden=[6], observation_shape=[4], actions=[2]
    ),
    "Conditional": lambda: layers.Conditional(nn.Linear(4, 4)),
    "ExpertChoiceRouter": lambda: layers.ExpertChoiceRouter(4, 3, 2),
    "FeatureSelection": lambda: models.FeatureSelection(2, columns=4, classes=3),
    "Gate": lambda: layers.Gate(4),
    "HardConcrete": lambda: layers.HardConcrete(4),
    "MixtureOfExperts": lambda: layers.MixtureOfExperts(layers.ExpertMLP(4, 8), 5, 2),
    "NoisyTopKRouter": lambda: layers.NoisyTopKRouter(4, 5),
    "PatternLearning": lambda: models.PatternLearning(
        layers.GatedTransformer(10, 8, dim=8, heads=2, layers=1, hidden=16, gate=None), only="blocks.*"
    ),
    "PatternMask": lambda: layers.PatternMask((12, 4)),
    "ReMoERouter": lambda: layers.ReMoERouter(4, 5),
    "SampledRouter": lambda: layers.SampledRouter(4, 5, estimator=estimators.Paired()),
    "SelectK": lambda: layers.SelectK(2, 4),
    "StochasticGate": lambda: layers.StochasticGate(4),
    "SwitchRouter": lambda: layers.SwitchRouter(4, 5),
    "TokenGate": lambda: layers.TokenGate(4),
    "TopKRouter": lambda: layers.TopKRouter(4, 5),
    "RoutedLanguageModel": lambda: models.RoutedLanguageModel(
        models.MixtureFeedForward(4, 2, 6), vocabulary=10, context=8, dim=8, heads=2, layers=1
    ),
    "RoutedNetwork": lambda: models.RoutedNetwork(4, 3, sources=2),
    "CausalAttention": lambda: layers.CausalAttention(4, 2),
    "LanguageModel": lambda: models.LanguageModel(layers.GRUNetwork(10, dim=4, hidden_dim=6)),
    "RewardedGenerator": lambda: models.RewardedGenerator(
        text.CoupletReward(), network=layers.GRUNetwork(280, dim=4, hidden_dim=6), adapt_steps=1, length=8, samples=4
    ),
    "JudgedGenerator": lambda: models.JudgedGenerator(
        layers.ClassifierJudge(96, dim=4, hidden_dim=4),
        network=layers.GRUNetwork(96, dim=4, hidden_dim=6),
        base_epochs=1e-4,
        length=4,
        lines=4,
        drawn=8,
    ),
    "AdaptiveTemperature": lambda: callbacks.AdaptiveTemperature(every=2, examples=3),
    "AudioCodec": lambda: models.AudioCodec(
        layers.ResidualQuantizer(layers.VectorQuantizer(8, 4), 3, dropout=0.5, beam=2), hidden=2, strides=[4, 8]
    ),
    "BernoulliVAE": lambda: models.BernoulliVAE(latents=6, hidden=[8], bound_samples=2),
    "CategoricalVAE": lambda: models.CategoricalVAE(latents=4, categories=3, hidden=[8], bound_samples=2),
    "CodePerplexity": lambda: metrics.CodePerplexity(4),
    "CodeUsage": lambda: metrics.CodeUsage(4),
    "EntropyBonus": lambda: losses.EntropyBonus(0.3, 0.7),
    "GradientProbe": lambda: callbacks.GradientProbe(every=2, samples=2, reference_samples=2, batch_size=2),
    "ItemTokenizer": lambda: models.ItemTokenizer(
        4, layers.ResidualQuantizer(layers.VectorQuantizer(8, 4), 2), hidden=[8]
    ),
    "LearningRateAnnealing": lambda: callbacks.LearningRateAnnealing(Linear(0.1, 0.05, steps=1)),
    "LiveCodes": lambda: metrics.LiveCodes(4),
    "LossWeight": lambda: layers.LossWeight(0.5),
    "OneOf": lambda: layers.OneOf([nn.Linear(4, 4), nn.Tanh(), nn.Identity()]),
    "PrunedNetwork": lambda: models.PrunedNetwork(layers.GatedConvNet([3, 4], image_shape=(1, 28, 28))),
    "RelaxedSubset": lambda: layers.RelaxedSubset(2),
    "RelaxedEmbedding": lambda: layers.RelaxedEmbedding(4, 3),
    "Scheduled": lambda: layers.Scheduled(0.5),
    "SequenceDesigner": lambda: _designer(),
    "SequenceLogits": lambda: layers.SequenceLogits(2, 5, 4),
    "TemperatureAnnealing": lambda: callbacks.TemperatureAnnealing(Linear(1.0, 0.5, steps=10)),
    "VQAutoencoder": lambda: models.VQAutoencoder(layers.VectorQuantizer(8, 4), hidden=4),
    "commitment_loss": lambda: Function(_commitment),
    "WeightAnnealing": lambda: callbacks.WeightAnnealing(Linear(0.0, 1.0, steps=10), only="*choice"),
}


def _designer() -> Any:
    from discrete_lightning.design import FromNothing
    from discrete_lightning.design.oracles import TFBind8
    from discrete_lightning.design.search.gradient import GradientSearch

    return models.SequenceDesigner(TFBind8(), FromNothing(8), search=GradientSearch(chains=2, steps=4), designs=2)


def is_quantizer(thing: Any) -> bool:
    return inspect.isclass(thing) and issubclass(thing, layers.Quantizer)


def needed_arguments(thing: Any) -> int:
    """The number of arguments without which a class or function cannot be called."""
    parameters = inspect.signature(thing).parameters.values()
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return sum(each.default is each.empty and each.kind not in optional for each in parameters)


def table(face: str) -> dict[str, Callable[[], Any]]:
    """Makers of what a face exports, by name; those without are left to `test_exports.py`. Not quantisers."""
    found = {}
    for name in FACES[face].__all__:
        thing = getattr(FACES[face], name)
        if is_quantizer(thing):
            continue
        if name in ARGUMENTS:
            found[name] = ARGUMENTS[name]
            continue
        if face == "losses" and name not in ELSEWHERE and inspect.isfunction(thing) and needed_arguments(thing) == 1:
            found[name] = partial(Function, thing)
        elif name not in ELSEWHERE and inspect.isclass(thing) and not needed_arguments(thing):
            found[name] = thing
    return found


class Function(nn.Module):
    """A function as a module, so that the table of layers holds it, too."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *arguments: Tensor) -> Tensor:
        return self.function(*arguments)


def _commitment(x: Tensor) -> Tensor:
    return losses.commitment_loss(x, x.detach().flip(0))


# Estimators

ESTIMATORS: dict[str, Callable[[], Estimator]] = table("estimators")


# Layers


def logits(module: nn.Module) -> tuple[Tensor, ...]:
    return (torch.randn(12, 4),)


def nothing(module: nn.Module) -> tuple[Tensor, ...]:
    return ()


def sequences(module: nn.Module) -> tuple[Tensor, ...]:
    return (torch.randn(2, 6, 4),)


def vectors(module: Any) -> tuple[Tensor, ...]:
    return (torch.randn(40, module.dim),)


def images(module: nn.Module) -> tuple[Tensor, ...]:
    return (torch.rand(2, 1, 8, 8),)


@dataclass(frozen=True)
class Layer:
    """A module, what it is called with, and whether its results are float32 whatever goes in."""

    make: Callable[[], nn.Module]
    inputs: Callable[[nn.Module], tuple[Tensor, ...]] = logits
    float32_results: bool = False

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        return self.make()

    def arguments(self, module: nn.Module, seed: int = 1) -> tuple[Tensor, ...]:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.inputs(module)


_INPUTS: dict[str, Callable[[Any], tuple[Tensor, ...]]] = {
    "ArchitectureChoice": nothing,
    "CausalAttention": sequences,
    "Conditional": sequences,
    "ExpertChoiceRouter": sequences,
    "LossWeight": nothing,
    "RelaxedEmbedding": logits,
    "Scheduled": nothing,
    "SequenceLogits": nothing,
    "Temperature": nothing,
}


def _layer(name: str, make: Callable[[], Any]) -> Layer:
    is_float32 = _INPUTS.get(name) is nothing or name.endswith("Router") or name == "TokenGate"
    return Layer(make, _INPUTS.get(name, logits), is_float32)


def _samples(cls: Any, make: Callable[[], Estimator]) -> Callable[[], nn.Module] | None:
    estimator = make()
    if not estimator.pathwise:
        return None
    return (lambda: cls(2, make())) if cls is layers.RelaxedSubset else (lambda: cls(make()))


SAMPLING: dict[str, Layer] = {
    f"{cls.__name__}_{name}": Layer(layer)
    for cls in (layers.RelaxedCategorical, layers.RelaxedBernoulli, layers.RelaxedSubset)
    for name, make in ESTIMATORS.items()
    if (layer := _samples(cls, make))
}
# every single one, and of those made of several what differs: test_quantizers.py has them all
_SEVERAL = ("residual_ema", "residual_gumbel", "residual_finite_scalar", "product_learned", "product_of_residuals")
QUANTIZERS: dict[str, Layer] = {name: Layer(ALL[name], vectors) for name in (*SINGLE, *_SEVERAL)}
QUANTIZERS["revived"] = Layer(lambda: layers.VectorQuantizer(32, 4, revive_below=0.9), vectors)
LOSSES: dict[str, Layer] = {name: Layer(make, logits, True) for name, make in table("losses").items()}
OTHERS: dict[str, Layer] = {name: _layer(name, make) for name, make in table("nn").items()}
OTHERS |= {
    "Temperature_learned": Layer(lambda: layers.Temperature(0.7, learnable=True), nothing, True),
    "OneOf_mixed": Layer(lambda: layers.OneOf([nn.Linear(4, 4), nn.Tanh()], estimator=estimators.GumbelSoftmax())),
    "MixtureOfExperts_paired": Layer(
        lambda: layers.MixtureOfExperts(layers.ExpertMLP(4, 8), 5, 1, router=estimators.Paired())
    ),
    "MixtureOfExperts_dense": Layer(
        lambda: layers.MixtureOfExperts(layers.ExpertMLP(4, 8), 5, 2, router=estimators.ReinMax())
    ),
    "supernet": Layer(lambda: SPACE.supernet(1, 10), images),
}
LAYERS: dict[str, Layer] = {**SAMPLING, **OTHERS, **LOSSES, **QUANTIZERS}


def results(module: nn.Module, arguments: tuple[Tensor, ...]) -> list[Tensor]:
    """All tensors that a call returns."""
    return [each for each in torch.utils._pytree.tree_leaves(module(*arguments)) if isinstance(each, Tensor)]


def loss_of(found: list[Tensor]) -> Tensor:
    """A loss that depends on every entry of every result that has a gradient."""
    terms = []
    for each in found:
        if each.requires_grad:
            weights = torch.linspace(-1.0, 2.0, each.numel(), device=each.device).view(each.shape)
            bounded = each.float() / (1 + each.float().abs())  # logits may be large, and a step of SGD with them
            terms.append((bounded * weights).mean() + bounded.square().mean())
    return torch.stack(terms).sum()


class Network(nn.Module):
    """A layer behind something that learns, so that gradients reach its input."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.scale = layer, nn.Parameter(torch.ones(()))

    def forward(self, *arguments: Tensor) -> Any:
        return self.layer(*(each * self.scale.to(each.dtype) for each in arguments))


def train(
    network: Network, layer: Layer, steps: int = 3, run: Callable[..., Any] | None = None, seed: int = 0
) -> list[list[Tensor]]:
    """Results and gradients of a few steps of SGD, each with another seed."""
    call = network if run is None else run
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, foreach=False)
    found = []
    for step in range(steps):
        arguments = layer.arguments(network.layer, seed=100 * seed + step)
        arguments = tuple(each.to(network.scale.device) for each in arguments)
        torch.manual_seed(step)
        optimizer.zero_grad()
        given = [each for each in torch.utils._pytree.tree_leaves(call(*arguments)) if isinstance(each, Tensor)]
        if any(each.requires_grad for each in given):
            loss_of(given).backward()
        gradients = [each.grad.clone() for each in network.parameters() if each.grad is not None]
        found.append([*(each.detach() for each in given), *gradients])
        optimizer.step()
    return found


def protected(network: nn.Module) -> dict[str, torch.dtype]:
    """The dtypes of what keeps its dtype when a network is cast."""
    found = {}
    for name, module in network.named_modules():
        if isinstance(module, layers.Float32State | layers.FixedDtype):
            whole = isinstance(module, layers.FixedDtype)  # with all that it holds
            own = [*module.named_parameters(recurse=whole), *module.named_buffers(recurse=whole)]
            found |= {f"{name}.{key}": value.dtype for key, value in own}
    return found


# Metrics, callbacks, models

METRICS: dict[str, Callable[[], Metric]] = table("metrics")
CALLBACKS: dict[str, Callable[[], Any]] = table("callbacks")
MODELS: dict[str, Callable[[], Any]] = table("models")
