"""Search spaces: what can be built. One file is one space."""

from search_space.shelf import Shelf, only_subclass
from search_space.space import SearchSpace

SPACES = Shelf(__name__, "search space", lambda module: only_subclass(module, SearchSpace))
