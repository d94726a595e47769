"""Label encodings (Section 3.2, Table 5a): every class has a code word of M real channels in [-scale, scale].

An encoding is nothing but its table of code words.  The last row is the code of the ignore label, which is diffused
like a class during training (the released table has K + 1 rows; the paper does not say) and is never predicted.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class LabelEncoding(nn.Module):
    """K classes and the ignore label as code words of :attr:`channels` values.

    Args:
        num_classes: K.
        scale: the paper's scaling factor of the encoded map (Table 5b).
    """

    channels: int

    def __init__(self, num_classes: int, scale: float) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.scale = scale

    def unit_codes(self) -> Tensor:
        """Code words in [-1, 1], (K + 1, M)."""
        raise NotImplementedError

    def codes(self) -> Tensor:
        """Code words in [-scale, scale], (K + 1, M)."""
        return self.unit_codes() * self.scale

    def encode(self, labels: Tensor) -> Tensor:
        """Label map (B, h, w), values 0..K (K = ignore) -> encoded map (B, M, h, w)."""
        return self.codes()[labels].movedim(-1, 1)

    def decode(self, encoded: Tensor) -> Tensor:
        """Return the class (B, h, w) of the code word nearest to an encoded map (B, M, h, w)."""
        codes = self.codes()[: self.num_classes]
        points = encoded.movedim(1, -1)
        distance = codes.square().sum(-1) - 2 * points @ codes.T  # |p|² is the same for every class
        return distance.argmin(-1)


class ClassEmbedding(LabelEncoding):
    """A learned vector per class, squashed by a sigmoid; trained through the corrupted map (the paper's choice)."""

    def __init__(self, num_classes: int, scale: float, channels: int) -> None:
        super().__init__(num_classes, scale)
        self.channels = channels
        self.embedding_table = nn.Embedding(num_classes + 1, channels)

    def unit_codes(self) -> Tensor:
        """Return the learnt code words in (-1, 1), (K + 1, M)."""
        return 2 * torch.sigmoid(self.embedding_table.weight) - 1


class _FixedEncoding(LabelEncoding):
    table: Tensor

    def __init__(self, num_classes: int, scale: float, bits: Tensor) -> None:
        super().__init__(num_classes, scale)
        self.channels = bits.shape[1]
        self.register_buffer("table", 2 * bits.float() - 1, persistent=False)

    def unit_codes(self) -> Tensor:
        return self.table


class OneHot(_FixedEncoding):
    """One channel per class; the ignore label has no channel set."""

    def __init__(self, num_classes: int, scale: float, channels: int) -> None:
        super().__init__(num_classes, scale, torch.eye(num_classes + 1, num_classes))


class AnalogBits(_FixedEncoding):
    """The label's binary digits as real numbers, least significant first; the ignore label is the number K."""

    def __init__(self, num_classes: int, scale: float, channels: int) -> None:
        numbers, places = torch.arange(num_classes + 1)[:, None], torch.arange(num_classes.bit_length())
        super().__init__(num_classes, scale, (numbers >> places) & 1)


class MultiLabelEmbedding(LabelEncoding):
    """For classes that overlap: a code word per *set* of classes, the mean of K learned vectors squashed by a sigmoid.

    Class k contributes its own vector where it is present and a common one ("absent") where it is not (released BEV
    code).  The table has a row for each of the 2^K sets, numbered by their bits: class k is present in set s where
    bit k of s is 1.

    Args:
        channels: M.
    """

    def __init__(self, num_classes: int, scale: float, channels: int) -> None:
        super().__init__(num_classes, scale)
        self.channels = channels
        self.embedding_table = nn.Embedding(num_classes + 1, channels)  # row 0: absent; row k + 1: class k

    def unit_codes(self) -> Tensor:
        """Code words in [-1, 1], (2^K, M)."""
        numbers = torch.arange(1, self.num_classes + 1, device=self.embedding_table.weight.device)
        sets = self.members(torch.arange(2**self.num_classes, device=numbers.device))
        return 2 * torch.sigmoid(self.embedding_table(sets * numbers).mean(1)) - 1

    def members(self, sets: Tensor) -> Tensor:
        """Set numbers (...) -> presence of each class (..., K), integers 0 and 1."""
        return (sets[..., None] >> torch.arange(self.num_classes, device=sets.device)) & 1

    def set_number(self, masks: Tensor) -> Tensor:
        """Masks (B, K, h, w), boolean or 0 and 1 -> set numbers (B, h, w)."""
        bits = 2 ** torch.arange(self.num_classes, device=masks.device)
        return (masks.long() * bits.view(-1, 1, 1)).sum(1)

    def encode(self, labels: Tensor) -> Tensor:
        """Masks (B, K, h, w), boolean or 0 and 1 -> encoded map (B, M, h, w)."""
        return self.codes()[self.set_number(labels)].movedim(-1, 1)

    def decode(self, encoded: Tensor) -> Tensor:
        """Return the boolean masks (B, K, h, w) of the code word nearest to an encoded map (B, M, h, w)."""
        codes = self.codes()
        distance = codes.square().sum(-1) - 2 * encoded.movedim(1, -1) @ codes.T
        return self.members(distance.argmin(-1)).bool().movedim(-1, 1)


ENCODINGS: dict[str, Callable[[int, float, int], LabelEncoding]] = {
    "embedding": ClassEmbedding,
    "onehot": OneHot,
    "analog_bits": AnalogBits,
}
