"""DistMult: a product of head, relation and tail."""

from torch import Tensor

from dsom_pyg.models.bilinear import Bilinear


class DistMult(Bilinear):
    r"""`DistMult <https://arxiv.org/abs/1412.6575>`_ (Yang et al.):
    :math:`\langle h, r, t \rangle` over all :math:`2D` real coordinates.
    """

    complex_rows = False
    by_coordinate = True

    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        return head * rel

    def compare_relations(
        self, head: Tensor, rel: Tensor, tail: Tensor
    ) -> Tensor:
        return (head * tail) @ rel.T

    def inverse(self, rel: Tensor) -> Tensor:
        return rel
