"""Where the candidates of an example come from: as given, the given ones re-shuffled, or re-drawn."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.checks import require_finite
from datamodules.corpus import Corpus
from datamodules.errors import InputError
from datamodules.negatives import Proposals, UniformProposals, WeightedProposals, draw_candidates, shuffle


class Weighting(ABC):
    """How likely an item is to be drawn as a negative. Its `repr` is part of the data's fingerprint."""

    @abstractmethod
    def proposals(self, popularity: NDArray[np.int64]) -> Proposals:
        """Makes the distribution.

        Args:
            popularity: Occurrences of every item in what training may count, shape [items].
        """


@dataclass(frozen=True)
class Uniform(Weighting):
    """Every item alike: easy for whoever knows popularity alone."""

    def proposals(self, popularity: NDArray[np.int64]) -> Proposals:
        """Makes the uniform distribution."""
        return UniformProposals(len(popularity))


@dataclass(frozen=True)
class Popularity(Weighting):
    """In proportion to (1 + occurrences before the first time cut) ** power, so that popularity says less.

    Args:
        power: 1 draws negatives as often as they are consumed, 0 uniformly.
    """

    power: float = 1.0

    def __post_init__(self) -> None:
        """Check the power."""
        require_finite(power=self.power)

    def proposals(self, popularity: NDArray[np.int64]) -> Proposals:
        """Makes the weighted distribution."""
        return WeightedProposals(((1.0 + popularity) ** self.power).astype(np.float64))


class Candidates(ABC):
    """The list of items an example's prompt shows. Its `repr` is part of the data's fingerprint."""

    @abstractmethod
    def lists(
        self, corpus: Corpus, rows: NDArray[np.int64], num_candidates: int, seed: int
    ) -> NDArray[np.int32]:
        """Makes the lists of some examples.

        Args:
            corpus: All examples.
            rows: Which of them, shape [n].
            num_candidates: Length of a list, the target included.
            seed: With the example's id it decides every draw.

        Returns:
            Items in the order of the list, shape [n, num_candidates].

        Raises:
            InputError: There are no such lists.
        """


@dataclass(frozen=True)
class Redrawn(Candidates):
    """Negatives drawn per example from what its user never consumed, the target shuffled in.

    Args:
        weighting: How likely an item is.
    """

    weighting: Weighting = Uniform()

    def lists(
        self, corpus: Corpus, rows: NDArray[np.int64], num_candidates: int, seed: int
    ) -> NDArray[np.int32]:
        """Draws; see `negatives.draw_candidates`."""
        examples = corpus.examples
        return draw_candidates(
            corpus.seen,
            examples.id[rows],
            examples.user[rows],
            examples.target[rows],
            self.weighting.proposals(corpus.popularity),
            num_candidates,
            seed,
            corpus.users,
        )


@dataclass(frozen=True)
class AsGiven(Candidates):
    """The source's lists in the source's order; published ones may give the target away."""

    def lists(
        self, corpus: Corpus, rows: NDArray[np.int64], num_candidates: int, seed: int
    ) -> NDArray[np.int32]:
        """Looks the lists up."""
        if corpus.lists is None:
            raise InputError(
                f"candidates {self} need a source that brings lists: take datamodules.candidates.Redrawn"
            )
        if corpus.lists.shape[1] != num_candidates:
            raise InputError(
                f"the source's lists hold {corpus.lists.shape[1]} candidates and num_candidates is {num_candidates}: "
                f"set num_candidates: {corpus.lists.shape[1]} or take datamodules.candidates.Redrawn"
            )
        return corpus.lists[rows]


@dataclass(frozen=True)
class Reshuffled(AsGiven):
    """The source's lists in an order drawn per example; which items stand together stays as it was."""

    def lists(
        self, corpus: Corpus, rows: NDArray[np.int64], num_candidates: int, seed: int
    ) -> NDArray[np.int32]:
        """Looks the lists up and shuffles them."""
        given = super().lists(corpus, rows, num_candidates, seed)
        return shuffle(given.astype(np.int64), corpus.examples.id[rows], seed).astype(np.int32)
