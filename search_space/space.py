"""The contract of a search space: an architecture is a finite sequence of categorical decisions."""

from __future__ import annotations

import abc
import random
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from search_space.genotype import Cell, Genotype, GenotypeError
from search_space.graph import Graph
from search_space.shared import SharedWeights
from search_space.supernet import Supernet
from search_space.task import Task


class SearchSpace(abc.ABC):
    """A set of architectures, each reached by a sequence of decisions.

    An entry of the shelf is a frozen dataclass under this class; its fields are its parameters in
    a plan and it raises ValueError where they make no sense. Because a space is nothing but
    decisions, any method that can choose from numbered options can search it.
    """

    @property
    def name(self) -> str:
        """The entry's name on the shelf."""
        return type(self).__module__.rpartition(".")[2]

    @abc.abstractmethod
    def options(self, decisions: Sequence[int]) -> int:
        """Return how many options the next decision has; 0 when the sequence is complete."""

    @abc.abstractmethod
    def decode(self, decisions: Sequence[int]) -> Genotype:
        """Return the genotype that a complete sequence stands for. Raises ValueError."""

    @abc.abstractmethod
    def encode(self, genotype: Genotype) -> tuple[int, ...]:
        """Return decisions for which :meth:`decode` builds the same network.

        Raises:
            GenotypeError: the genotype is not of this space; says which part is not.
        """

    @abc.abstractmethod
    def build(
        self,
        genotype: Genotype,
        task: Task,
        *,
        channels: int,
        layers: int,
        auxiliary: bool = False,
    ) -> nn.Module:
        """Build the network of ``genotype`` for ``task``, ``channels`` wide and ``layers`` deep."""

    def supernet(
        self, task: Task, *, channels: int, layers: int, partial: int = 1, fast: bool = True
    ) -> Supernet:
        """Build all architectures at once with shared weights, where the space allows it.

        Args:
            task: gives the shapes.
            channels, layers: width of the first cells and number of cells.
            partial: one channel of so many goes through the operations (PC-DARTS).
            fast: in the form that is the fastest on a CPU, where there is one; the same numbers.
        """
        raise TypeError(f"the search space {self.name!r} has no supernet")

    def shared(self, task: Task, *, channels: int, layers: int, fast: bool = True) -> SharedWeights:
        """Build what computes any one architecture with shared weights, where the space allows it.

        Args:
            task: gives the shapes.
            channels, layers: as :meth:`build` takes them.
            fast: in the form that is the fastest on a CPU, where there is one; the same numbers.
        """
        raise TypeError(f"the search space {self.name!r} has no shared weights")

    def skips(self) -> frozenset[int]:
        """Return the places of decisions that are 1 for a skip connection and 0 for none."""
        return frozenset()

    def discretise(self, weights: Mapping[str, Tensor]) -> Genotype:
        """Return the architecture that weights ``[edges, operations]`` of each cell prefer."""
        raise TypeError(f"the search space {self.name!r} has no supernet")

    def continuous(self, weights: Mapping[str, Tensor]) -> Genotype:
        """Return the genotype that stands for the supernet itself with its weights fixed."""
        raise TypeError(f"the search space {self.name!r} has no supernet")

    def cells(self, genotype: Genotype) -> dict[str, Cell]:
        """Return the cells of a genotype by name; none where the space is not made of cells."""
        return {}

    def canonical(self, genotype: Genotype) -> Genotype:
        """Return the representative of all genotypes that build the same network as this one."""
        return genotype

    def drawing(self, genotype: Genotype) -> Mapping[str, Cell | Graph]:
        """Return what a picture of ``genotype`` shows, by title: its cells where it has any."""
        return self.cells(genotype)

    def size(self) -> int | None:
        """Return the number of decision sequences, or None where there is no closed form."""
        return None

    def parse(self, text: str) -> Genotype:
        """Read a genotype in JSON or in the text form that the literature prints for this space.

        Raises:
            GenotypeError: neither; or a genotype of another space.
        """
        genotype = Genotype.from_json(text)
        self.check(genotype)
        return genotype

    def text(self, genotype: Genotype) -> str:
        """Return the text form that the literature prints; JSON where there is none."""
        return genotype.to_json()

    def sample(self, rng: random.Random) -> Genotype:
        """Draw every decision uniformly from its options."""
        return self.decode(self._complete([], rng))

    def mutate(self, genotype: Genotype, rng: random.Random) -> Genotype:
        """Change one decision to another option.

        Later decisions stay where they are still possible and are drawn anew where not. A decision
        that has one option only is never picked.
        """
        decisions = self.encode(genotype)
        free = [i for i in range(len(decisions)) if self.options(decisions[:i]) > 1]
        if not free:
            raise ValueError("the space holds a single architecture: nothing can be changed")
        place = rng.choice(free)
        others = [o for o in range(self.options(decisions[:place])) if o != decisions[place]]
        return self.decode(self._change(decisions, place, rng.choice(others), rng))

    def neighbours(self, genotype: Genotype) -> Iterator[Genotype]:
        """Yield the architectures that differ in one decision, in order.

        Where a change makes later decisions impossible those become option 0.
        """
        decisions = self.encode(genotype)
        for place, now in enumerate(decisions):
            for option in range(self.options(decisions[:place])):
                if option != now:
                    yield self.decode(self._change(decisions, place, option, None))

    def check(self, genotype: Genotype) -> None:
        """Raise GenotypeError if ``genotype`` is not an architecture of this space."""
        self.encode(genotype)

    def _complete_or_raise(self, decisions: Sequence[int]) -> None:
        """Raise ValueError unless ``decisions`` is a complete sequence of options that exist."""
        for place, decision in enumerate(decisions):
            count = self.options(decisions[:place])
            if not 0 <= decision < count:
                raise ValueError(f"decision {place} is {decision}; there are {count} options")
        if self.options(decisions) > 0:
            raise ValueError(f"{len(decisions)} decisions; the sequence goes on")

    def _own(self, genotype: Genotype) -> None:
        if genotype.space != self.name:
            raise GenotypeError(f"a genotype of the space {genotype.space!r}, not {self.name!r}")

    def _change(
        self, decisions: Sequence[int], place: int, option: int, rng: random.Random | None
    ) -> list[int]:
        changed = [*decisions[:place], option]
        while (count := self.options(changed)) > 0:
            i = len(changed)
            if i < len(decisions) and decisions[i] < count:
                changed.append(decisions[i])
            else:
                changed.append(0 if rng is None else rng.randrange(count))
        return changed

    def _complete(self, decisions: list[int], rng: random.Random) -> list[int]:
        while (count := self.options(decisions)) > 0:
            decisions.append(rng.randrange(count))
        return decisions
