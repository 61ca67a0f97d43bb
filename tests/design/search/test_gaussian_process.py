"""The Gaussian process against the textbook's formulas, inverted directly."""

import torch

from discrete_lightning.design.search.gaussian_process import GaussianProcess, Hyperparameters, features


def kernel(a: torch.Tensor, b: torch.Tensor, known: Hyperparameters) -> torch.Tensor:
    distance = (a[:, None] != b[None]).sum(-1).double()
    (_, one), (_, two) = features(a, 4), features(b, 4)
    return known.share * known.rho**distance + (1 - known.share) * one @ two.T


def test_posterior() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens, new = torch.randint(4, (30, 9), generator=generator), torch.randint(4, (12, 9), generator=generator)
    scores = torch.randn(30, generator=generator).double()
    known = Hyperparameters(0.6, 0.4, 0.05)
    mean, deviation = GaussianProcess(tokens, scores, 4, known).predict(new)
    center, scale = scores.mean(), scores.std(correction=0)
    inverse = torch.linalg.inv(kernel(tokens, tokens, known) + 0.05 * torch.eye(30, dtype=torch.float64))
    cross = kernel(new, tokens, known)
    torch.testing.assert_close(mean, cross @ inverse @ ((scores - center) / scale) * scale + center)
    variance = kernel(new, new, known).diagonal() - (cross @ inverse * cross).sum(1)
    torch.testing.assert_close(deviation, variance.sqrt() * scale)


def test_each_choice_knows_of_the_ones_before() -> None:
    """The batch is the one that refitting with the mean as the score of each choice would give."""
    generator = torch.Generator().manual_seed(1)
    tokens, pool = torch.randint(4, (20, 6), generator=generator), torch.randint(4, (60, 6), generator=generator)
    pool = pool.unique(dim=0)
    scores = torch.randn(20, generator=generator).double()
    scores = (scores - scores.mean()) / scores.std(correction=0)
    known = Hyperparameters(0.7, 0.5, 0.1)
    chosen = GaussianProcess(tokens, scores, 4, known).choose(pool, 6, exploration=1.5)
    mean = GaussianProcess(tokens, scores, 4, known).predict(pool)[0]
    seen, expected = tokens, []
    for _ in range(6):
        inverse = torch.linalg.inv(kernel(seen, seen, known) + 0.1 * torch.eye(len(seen), dtype=torch.float64))
        cross = kernel(pool, seen, known)
        deviation = (kernel(pool, pool, known).diagonal() - (cross @ inverse * cross).sum(1)).clamp_min(0).sqrt()
        value = mean + 1.5 * deviation
        value[expected] = -torch.inf
        expected.append(int(value.argmax()))
        seen = torch.cat([seen, pool[expected[-1:]]])
    assert chosen.tolist() == expected


def test_words_are_known_wherever_they_stand() -> None:
    tokens = torch.tensor([[0, 1, 2, 3, 3, 3, 3, 3], [3, 3, 3, 3, 0, 1, 2, 3], [2, 0, 0, 2, 1, 1, 0, 0]])
    _, words = features(tokens, 4)
    similarity = words @ words.T
    assert float(similarity[0, 1]) > 0.5 > 0.3 > float(similarity[0, 2])
