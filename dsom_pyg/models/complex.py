"""ComplEx: a product of head, relation and conjugate tail."""

import torch
from torch import Tensor

from dsom_pyg.models.bilinear import Bilinear


class ComplEx(Bilinear):
    r"""`ComplEx <https://arxiv.org/abs/1606.06357>`_ (Trouillon et al.):
    :math:`\mathrm{Re}\langle h, r, \bar t \rangle`, rows [real | imaginary].
    """

    by_coordinate = True

    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        h_re, h_im = head.chunk(2, dim=-1)
        r_re, r_im = rel.chunk(2, dim=-1)
        return torch.cat(
            [h_re * r_re - h_im * r_im, h_re * r_im + h_im * r_re], dim=-1
        )

    def compare_relations(
        self, head: Tensor, rel: Tensor, tail: Tensor
    ) -> Tensor:
        h_re, h_im = head.chunk(2, dim=-1)
        t_re, t_im = tail.chunk(2, dim=-1)
        pair = torch.cat(
            [h_re * t_re + h_im * t_im, h_re * t_im - h_im * t_re], dim=-1
        )
        return pair @ rel.T

    def inverse(self, rel: Tensor) -> Tensor:
        real, imag = rel.chunk(2, dim=-1)
        return torch.cat([real, -imag], dim=-1)
