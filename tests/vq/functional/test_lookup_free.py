import itertools

import pytest
import torch

from discrete_lightning.vq.functional import lookup_free, lookup_free_decode, soft_code_marginals


@pytest.mark.parametrize("dim", [1, 3, 18, 40])
def test_signs_and_indices(dim: int) -> None:
    z = torch.randn(50, dim, requires_grad=True)
    signs, indices = lookup_free(z)
    assert torch.equal(signs, torch.where(z > 0, 1.0, -1.0))
    assert indices.tolist() == [sum(2**i for i in range(dim) if row[i] > 0) for row in z.tolist()]
    assert torch.equal(lookup_free_decode(indices, dim), signs)
    g = torch.randn(50, dim)
    signs.backward(g)
    assert torch.equal(z.grad, g)  # type: ignore[arg-type]


@pytest.mark.parametrize("dim", [1, 3, 6])
@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_marginals_by_enumerating_all_codes(dim: int, tau: float) -> None:
    z = torch.randn(40, dim, dtype=torch.float64)
    codes = torch.tensor([bits[::-1] for bits in itertools.product([-1.0, 1.0], repeat=dim)], dtype=torch.float64)
    p = torch.softmax(-(z.unsqueeze(1) - codes).square().sum(-1) / tau, -1)
    (marginal,) = soft_code_marginals(z, tau)
    torch.testing.assert_close(marginal, p.sum(0))


def test_groups_of_eight_bits() -> None:
    z = torch.randn(30, 19)
    marginals = soft_code_marginals(z, 1.0)
    assert [len(each) for each in marginals] == [256, 256, 8]
    torch.testing.assert_close(marginals[1], soft_code_marginals(z[:, 8:16], 1.0)[0])
    for each in marginals:
        assert each.sum().item() == pytest.approx(30, rel=1e-5)


@pytest.mark.parametrize("dim", [0, 63])
def test_an_index_has_63_bits(dim: int) -> None:
    with pytest.raises(ValueError, match="1 to 62 bits"):
        lookup_free(torch.zeros(3, dim))
