"""AdaptiveLogSoftmaxWithLoss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ... import ops
from ...core.tensor import Tensor
from .. import functional as F
from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class _ASMoutput(NamedTuple):
    """The log-probability of each target, and the mean of its negative."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-softmax over very many classes ordered by frequency, rare ones in clusters (Grave et al. 2017).

    Classes below cutoffs[0] have scores of their own in the head; each further cluster has one score there
    and its own low-rank classifier, of size in_features / div_value^i. Input (N, in_features) and target (N)
    give (log-probabilities of the targets (N), loss); without a batch, (in_features) and a 0-d target.

    Raises: ValueError for cutoffs that do not increase within 1..n_classes-1; RuntimeError for targets out of
    range or of the wrong shape.

    >>> import flambeau as torch
    >>> m = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 20, cutoffs=[5, 10], div_value=2.0)
    >>> m(torch.ones(3, 8), torch.tensor([0, 7, 19])).output.shape
    torch.Size([3])
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (
            cutoffs != sorted(set(cutoffs))
            or cutoffs[0] <= 0
            or cutoffs[-1] > n_classes - 1
            or any(int(c) != c for c in cutoffs)
        ):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, "
                "where "
                f"each value is between 1 and n_classes-1, got {cutoffs} for {n_classes} classes"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, head_bias, device, dtype)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(self._ranges()):
            hidden = int(in_features // (div_value ** (i + 1)))
            self.tail.append(
                Sequential(
                    Linear(in_features, hidden, False, device, dtype),
                    Linear(hidden, high - low, False, device, dtype),
                )
            )

    def _ranges(self) -> Iterator[tuple[int, int]]:
        """First class and end of each cluster."""
        return zip(self.cutoffs, self.cutoffs[1:], strict=False)

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        self.head.reset_parameters()
        for first, second in self.tail:
            first.reset_parameters()
            second.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        dims = target_.dim()
        if dims > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if input_.dim() != dims + 1:
            raise RuntimeError(
                f"{dims}D target tensor expects {dims + 1}D input tensors, but found inputs with size "
                f"{input_.size()}"
            )
        if dims and input_.size(0) != target_.size(0):
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        input: Any = input_ if dims else input_.unsqueeze(0)
        target: Any = target_ if dims else target_.unsqueeze(0)
        outside = (target < 0) | (target >= self.n_classes)
        if outside.any():
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], "
                f"but values in range [{target.min().item()}, {target.max().item()}] were found. "
            )
        # in the head a class of the shortlist stands for itself, a cluster for all its classes
        in_head = target
        output: Any = input.new_zeros(target.size(0))
        for i, (low, high) in enumerate(self._ranges()):
            member = (target >= low) & (target < high)
            rows = member.nonzero().reshape(-1)
            if rows.numel() == 0:
                continue
            in_head = in_head.masked_fill(member, self.shortlist_size + i)
            log_prob = F.log_softmax(self.tail[i](input.index_select(0, rows)), 1)
            wanted = (target.index_select(0, rows) - low).unsqueeze(1)
            output = output.index_add(0, rows, log_prob.gather(1, wanted).squeeze(1))
        head_log_prob = F.log_softmax(self.head(input), 1)
        output = output + head_log_prob.gather(1, in_head.unsqueeze(1)).squeeze(1)
        return _ASMoutput(output if dims else output.squeeze(0), (-output).mean())

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes: (N, n_classes)."""
        head: Any = F.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            share = head[:, self.shortlist_size + i].unsqueeze(1)
            parts.append(F.log_softmax(cluster(input), 1) + share)
        return ops.cat(parts, 1)  # type: ignore[no-any-return]

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row, as PyTorch finds it: clusters count only where they win the
        head.
        """
        scores = self.head(input)
        best = ops.argmax(scores, 1)
        overall = ops.argmax(self.log_prob(input), 1)
        return ops.where(best >= self.shortlist_size, overall, best)  # type: ignore[no-any-return]
