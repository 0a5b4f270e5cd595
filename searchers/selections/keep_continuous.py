"""Keep-continuous: nothing is cut; the evaluation trains the supernet with its weights fixed.

The relaxed architecture of Liu et al. 2019 (section 2.2) taken as the result. There is no
discretisation gap, and the network costs as much as the supernet: many times a derived one.
"""

from __future__ import annotations

from search_space.genotype import Genotype
from search_space.space import SearchSpace
from searchers._architecture import Architecture
from searchers._base import StrictParams
from searchers.selections._base import Selection


class KeepContinuous(Selection):
    """The mixture itself, its weights rounded to six decimals; all channels are mixed in it."""

    class Params(StrictParams):
        """Keep-continuous has no parameters."""

    mixed = True

    def genotype(self, space: SearchSpace, architecture: Architecture) -> Genotype:
        return space.continuous(architecture.tables())
