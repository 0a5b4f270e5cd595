"""The recurrent controller: an LSTM that makes one decision after another, each given all before.

Zoph, Le: Neural Architecture Search with Reinforcement Learning, ICLR 2017, section 3.1; Zoph,
Vasudevan, Shlens, Le: Learning Transferable Architectures for Scalable Image Recognition, CVPR
2018, appendix A.1: one layer of 100 units, a softmax for each decision, weights drawn uniformly
from -0.1 to 0.1.

The papers know how many decisions there are and how many options each has. Here both may depend on
what was decided before, so a softmax and the embedding of its choice belong to a place in the
sequence and a number of options, and come into being when they are first met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from searchers._chance import stream

_INITIAL = 0.1  # weights are drawn from minus this to this

# Takes log-probabilities [rows, options], the rows' numbers in the batch and the place in the
# sequence; returns the options chosen, [rows].
_Choose = Callable[[Tensor, list[int], int], Tensor]


@dataclass(frozen=True)
class Decided:
    """Sequences that a controller went through, and how it saw them.

    Args:
        decisions: the sequences, complete.
        log_probs: natural logarithm of the probability of each, ``[n]``.
        entropies: sum over its decisions of the entropy of their softmax, in nats, ``[n]``.
        divergences: sum over its decisions that have a target of the Kullback-Leibler divergence
            of their softmax from it, in nats, ``[n]``.
    """

    decisions: list[tuple[int, ...]]
    log_probs: Tensor
    entropies: Tensor
    divergences: Tensor


class Controller(nn.Module):
    """A distribution over the decision sequences of a space, with weights to train.

    Its parameters grow as it meets new decisions; :meth:`load_state_dict` makes those it is given.
    What a weight is at first depends on the seed and its name, not on when it was met.

    Args:
        options: how many options the next decision has, 0 at the end; ``SearchSpace.options``.
        units: of the LSTM, and width of the embedding of a decision.
        seed: of the weights.
        temperature: logits are divided by it.
        bound: then their hyperbolic tangent is taken, times this; 0: they are left as they are
            (Bello et al.: Neural Combinatorial Optimization with Reinforcement Learning, 2017).
        targets: for places in the sequence, the probabilities of their options that divergences
            are measured from.
    """

    def __init__(
        self,
        options: Callable[[Sequence[int]], int],
        *,
        units: int = 100,
        seed: int,
        temperature: float = 1.0,
        bound: float = 0.0,
        targets: Mapping[int, Sequence[float]] = MappingProxyType({}),
    ):
        super().__init__()
        self.options, self.units, self.seed = options, units, seed
        self.temperature, self.bound, self.targets = temperature, bound, targets
        self.lstm = skip_init(nn.LSTMCell, units, units)
        for name, weight in self.lstm.named_parameters():
            self._draw(weight, f"lstm {name}")
        self.start = nn.Parameter(self._draw(torch.empty(units), "start"))
        self.parts = nn.ParameterDict()

    def sample(self, n: int, generator: torch.Generator) -> Decided:
        """Draw ``n`` sequences; gradients flow from their log-probabilities and entropies."""

        def draw(log_probs: Tensor, rows: list[int], place: int) -> Tensor:
            return torch.multinomial(log_probs.detach().exp(), 1, generator=generator)[:, 0]

        return self._walk(n, draw)

    def greedy(self) -> tuple[int, ...]:
        """Return the sequence that takes the likeliest option each time, the first of equals."""
        with torch.no_grad():
            return self._walk(1, lambda log_probs, rows, place: log_probs.argmax(1)).decisions[0]

    def replay(self, sequences: Sequence[Sequence[int]]) -> Decided:
        """Go through complete ``sequences`` once more, as the controller sees them now."""

        def repeat(log_probs: Tensor, rows: list[int], place: int) -> Tensor:
            return torch.tensor([sequences[row][place] for row in rows], device=log_probs.device)

        return self._walk(len(sequences), repeat)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Take over weights, after making the parts that they are for."""
        prefix = "parts."
        self.parts = nn.ParameterDict()  # made from a dictionary it would sort the names
        for name, value in state_dict.items():
            if name.startswith(prefix):
                self.parts[name.removeprefix(prefix)] = nn.Parameter(torch.empty_like(value))
        return super().load_state_dict(state_dict, *args, **kwargs)

    def _walk(self, n: int, choose: _Choose) -> Decided:
        prefixes: list[list[int]] = [[] for _ in range(n)]
        log_probs, entropies, divergences = (self.start.new_zeros(n) for _ in range(3))
        hidden = memory = self.start.new_zeros(n, self.units)
        inputs = self.start.expand(n, -1)
        order = list(range(n))  # the row of the batch that each row of the tensors stands for
        place = 0
        while True:
            kept, groups = self._groups(prefixes, order)
            if not groups:
                done = [tuple(prefix) for prefix in prefixes]
                return Decided(done, log_probs, entropies, divergences)
            if kept != list(range(len(order))):
                inputs, hidden, memory = inputs[kept], hidden[kept], memory[kept]
                order = [order[row] for row in kept]
            hidden, memory = self.lstm(inputs, (hidden, memory))
            chances, disorder, distance, following = [], [], [], []
            for count, first, last in groups:
                rows = order[first:last]
                weight, bias, embedding = self._part(place, count)
                logits = torch.addmm(bias, hidden[first:last], weight.T) / self.temperature
                if self.bound > 0:
                    logits = self.bound * logits.tanh()
                scores = logits.log_softmax(1)
                chosen = choose(scores, rows, place)
                chances.append(scores.gather(1, chosen[:, None])[:, 0])
                disorder.append(-(scores.exp() * scores).sum(1))
                distance.append(self._distance(scores, place))
                following.append(embedding[chosen])
                for row, option in zip(rows, chosen.tolist(), strict=True):
                    prefixes[row].append(option)
            index = torch.tensor(order, device=log_probs.device)
            log_probs = log_probs.index_add(0, index, torch.cat(chances))
            entropies = entropies.index_add(0, index, torch.cat(disorder))
            divergences = divergences.index_add(0, index, torch.cat(distance))
            inputs = torch.cat(following)
            place += 1

    def _distance(self, scores: Tensor, place: int) -> Tensor:
        """Return the divergence of rows of log-probabilities from the target of their place."""
        if place not in self.targets:
            return scores.new_zeros(len(scores))
        target = scores.new_tensor(self.targets[place]).log()
        return (scores.exp() * (scores - target)).sum(1)

    def _groups(
        self, prefixes: list[list[int]], order: list[int]
    ) -> tuple[list[int], list[tuple[int, int, int]]]:
        """Sort the rows that go on by their number of options.

        Returns which of ``order`` go on, and for each number its first row and the one after the
        last among these.
        """
        counts = [self.options(prefixes[row]) for row in order]
        kept = sorted((i for i, count in enumerate(counts) if count > 0), key=counts.__getitem__)
        groups, first = [], 0
        for count, rows in groupby(counts[i] for i in kept):
            last = first + len(list(rows))
            groups.append((count, first, last))
            first = last
        return kept, groups

    def _part(self, place: int, count: int) -> Iterator[nn.Parameter]:
        """Yield the weights of a softmax, its biases, and the embedding of its choice."""
        shapes = {"weight": (count, self.units), "bias": (count,), "embed": (count, self.units)}
        for kind, shape in shapes.items():
            name = f"{kind}_{place}_of_{count}"
            if name not in self.parts:
                fresh = self._draw(torch.empty(shape), name)
                self.parts[name] = nn.Parameter(fresh.to(self.start.device))
            yield self.parts[name]

    def _draw(self, weight: Tensor, name: str) -> Tensor:
        generator = stream(self.seed, f"controller {name}")
        with torch.no_grad():
            return weight.uniform_(-_INITIAL, _INITIAL, generator=generator)
