"""The fast supernet: the textbook's numbers, computed wave by wave (search_space/wave.py)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from search_space.mixture import Mixture, Mixtures
from search_space.statistics import Statistics
from search_space.supernet import CellShape, Supernet, go_round, shuffle
from search_space.wave import GROUPS, POOLS, Halving, Wave, rows_of_wave

# From so many values in a wave's maps on it is folded, which takes less memory. Below, that matters
# little, and the other form is a few percent faster.
FOLD_FROM = 1 << 16


class WaveCell(nn.Module):
    """A cell, wave by wave; inputs are rectified maps ``[channels, height, width, batch]``."""

    def __init__(self, shape: CellShape):
        super().__init__()
        self.operations, self.nodes, self.partial = shape.operations, shape.nodes, shape.partial
        self.channels, self.stride = shape.channels, 2 if shape.reduction else 1
        self.reduced, flat = shape.reduced, shape.ndim == 1
        before, last = shape.widths
        if self.reduced:
            self.halving = Halving(1, 1, before, self.channels, flat)
        else:
            self.first = nn.Parameter(torch.empty(self.channels, before))
            self.first_statistics = Statistics(self.channels)
        self.second = nn.Parameter(torch.empty(self.channels, last))
        self.second_statistics = Statistics(self.channels)
        self.waves = nn.ModuleList(
            Wave(
                self.operations,
                self.nodes - wave,
                2 if wave == 0 else 1,
                self.channels // self.partial,
                stride=self.stride if wave == 0 else 1,
                flat=flat,
            )
            for wave in range(self.nodes)
        )

    def wave(self, number: int) -> Wave:
        """Return the wave that starts from the states 0 and 1, or from state ``number`` + 1."""
        wave = self.waves[number]
        assert isinstance(wave, Wave)
        return wave

    def inputs(self, before: Tensor, last: Tensor) -> Tensor:
        """Return the two states that the cell starts from ``[2, C, height, width, batch]``."""
        if self.reduced:
            first = self.halving(before[None])[0, 0]
        else:
            first = self.first_statistics.normalise(self.first @ before.flatten(1))
        second = self.second_statistics.normalise(self.second @ last.flatten(1))
        return torch.stack([first, second]).view(2, self.channels, *last.shape[1:])

    def forward(
        self, before: Tensor, last: Tensor, mixture: Mixture, waves: list[dict[str, Tensor]]
    ) -> Tensor:
        """Return the concatenated nodes ``[nodes C, height', width', batch]``, not rectified."""
        inputs = self.inputs(before, last)
        if mixture.active is not None:
            return torch.cat(self._edge_by_edge(inputs, mixture)[2:])
        x, rest, nodes = inputs, None, []
        for number, a in enumerate(waves):
            y = self._sums(self.wave(number), x, a, rest)
            # The first of its targets has got all that it gets.
            x, rest = y.split([1, len(y) - 1])
            nodes.append(x)
        return torch.cat(nodes).flatten(0, 1)

    def _sums(self, wave: Wave, x: Tensor, a: dict[str, Tensor], base: Tensor | None) -> Tensor:
        """Return what a wave brings to its targets, plus ``base`` ``[targets, C, ...]``."""
        if self.partial == 1:
            return wave(x, a, base, x.numel() * wave.targets >= FOLD_FROM)
        inside = x[:, : self.channels // self.partial].contiguous()
        y = wave(inside, a, None, inside.numel() * wave.targets >= FOLD_FROM)
        y = self._with_bypass(y, x, a["bypass"], wave.stride)
        return y if base is None else y + base

    def _with_bypass(self, y: Tensor, x: Tensor, bypass: Tensor, stride: int) -> Tensor:
        """Put what went round the operations beside their sums ``y`` ``[T, C, ...]``, and deal."""
        around = x[:, self.channels // self.partial :]
        if stride == 2:
            j, c, h, w, n = around.shape
            maps = around.permute(0, 4, 1, 2, 3).reshape(j * n, c, h, w)
            pooled = go_round(maps, 2).view(j, n, c, -(-h // 2), -(-w // 2))
            around = pooled.permute(0, 2, 3, 4, 1)
        mixed = (bypass @ around.flatten(1)).view(len(bypass), *around.shape[1:])
        return shuffle(torch.cat([y, mixed], dim=1), self.partial)

    def _edge_by_edge(self, inputs: Tensor, mixture: Mixture) -> list[Tensor]:
        """Return all states, computing no more than the mixture's active operations."""
        states = list(inputs.unbind())
        size = [-(-length // self.stride) for length in inputs.shape[2:4]]
        zero = inputs.new_zeros(self.channels // self.partial, *size, inputs.shape[-1])
        factors, row = _factors(mixture), 0
        for node in range(self.nodes):
            parts = []
            for source in range(node + 2):
                number, j = (0, source) if source < 2 else (source - 1, 0)
                wave = self.wave(number)
                x = states[source][: self.channels // self.partial]
                outputs = []
                for column in mixture.computed(row):
                    factor, name = next(factors), self.operations[column]
                    if name != "none":
                        y = wave.single(name, x, node - number, j)
                        outputs.append(_times(factor, y))
                y = functools.reduce(torch.add, outputs) if outputs else zero
                if self.partial > 1:
                    bypass = y.new_ones(1) if mixture.bypass is None else mixture.bypass[row, None]
                    state = states[source][None]
                    y = self._with_bypass(y[None], state, bypass[None], wave.stride)[0]
                if y is not zero:
                    parts.append(y)
                row += 1
            states.append(functools.reduce(torch.add, parts) if parts else zero)
        return states


class WaveSupernet(Supernet):
    """The supernet computed wave by wave, for the operations in ``search_space.wave.KNOWN``.

    Its weights are not set: search_space.stacking takes them from a textbook supernet.

    ``checkpointing`` keeps no maps within cells and computes them again in the backward pass: up to
    half of the memory is saved, for another forward pass.
    """

    def _cell(self, shape: CellShape) -> WaveCell:
        return WaveCell(shape)

    def forward(self, x: Tensor, mixtures: Mixtures | None = None) -> Tensor:
        mixtures = self.uniform() if mixtures is None else mixtures
        waves = {kind: self._weights(mixtures[kind]) for kind in set(self.kinds)}
        maps = self.stem(x)
        flat = maps.dim() == 3
        maps = (maps[:, :, None] if flat else maps).permute(1, 2, 3, 0).contiguous()
        last = maps
        before = rectified = maps.relu()
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            last = self._run(cell, before, rectified, mixtures[kind], waves[kind])
            before, rectified = rectified, last.relu()
        features = last.permute(3, 0, 1, 2)
        return self.head(features[:, :, 0] if flat else features)

    def _run(
        self,
        cell: nn.Module,
        before: Tensor,
        last: Tensor,
        mixture: Mixture,
        waves: list[dict[str, Tensor]],
    ) -> Tensor:
        if not (self.checkpointing and torch.is_grad_enabled()):
            return cell(before, last, mixture, waves)
        # Named tensors, because those of the module may be others when it is computed again.
        tensors = {**dict(cell.named_parameters()), **dict(cell.named_buffers())}

        def run(before: Tensor, last: Tensor) -> Tensor:
            return functional_call(cell, tensors, (before, last, mixture, waves))

        return checkpoint(
            run,
            before,
            last,
            use_reentrant=False,
            preserve_rng_state=False,
            context_fn=lambda: (contextlib.nullcontext(), _WithoutTracking(cell)),
        )

    def _weights(self, mixture: Mixture) -> list[dict[str, Tensor]]:
        """Return the weights of each wave, by group; nothing where edges are computed singly."""
        if mixture.active is not None:
            return []
        device = mixture.weights.device
        places, together = _places(self.operations, self.nodes)
        gathered = mixture.weights.flatten().index_select(0, together.to(device))
        parts = iter(gathered.split([place.numel() for own in places for place in own.values()]))
        found = [{name: next(parts).view(p.shape) for name, p in own.items()} for own in places]
        for number, a in enumerate(found if self.partial > 1 else []):
            rows = torch.tensor(rows_of_wave(self.nodes, number), device=device)
            ones = mixture.weights.new_ones(rows.shape)
            a["bypass"] = ones if mixture.bypass is None else mixture.bypass[rows]
        return found


@functools.lru_cache(maxsize=16)
def _places(operations: tuple[str, ...], nodes: int) -> tuple[list[dict[str, Tensor]], Tensor]:
    """Return where the weights of each wave, by group, lie in a flattened mixture; and all places.

    Gathering all of them at once is faster than each by itself.
    """
    column = {name: i for i, name in enumerate(operations)}
    groups = {name: [column[o] for o in g.widths if o in column] for name, g in GROUPS.items()}
    pools = [column[name] for name in POOLS if name in column]
    found = []
    for wave in range(nodes):
        rows = torch.tensor(rows_of_wave(nodes, wave), device="cpu")
        table = rows[..., None] * len(operations) + torch.arange(len(operations), device="cpu")
        own = {name: table[..., g].transpose(1, 2) for name, g in groups.items() if g}
        if pools:
            own["pools"] = table[..., pools].transpose(1, 2).flatten(1)
        if "skip_connect" in column:
            own["skip"] = table[..., column["skip_connect"]]
        found.append(own)
    parts = [place.flatten() for own in found for place in own.values()]
    return found, torch.cat([torch.zeros(0, dtype=torch.long, device="cpu"), *parts])


def _factors(mixture: Mixture) -> Iterator[Tensor | float]:
    """Return the weights of what a mixture computes, edge by edge; as numbers, if that is cheap."""
    assert mixture.active is not None
    rows = [row for row, columns in enumerate(mixture.active) for _ in columns]
    weights = mixture.weights[rows, [column for columns in mixture.active for column in columns]]
    if weights.requires_grad or weights.device.type != "cpu":
        return iter(weights.unbind())
    return iter(weights.tolist())


def _times(factor: Tensor | float, x: Tensor) -> Tensor:
    return x if isinstance(factor, float) and factor == 1 else factor * x


class _WithoutTracking:
    """Leaves the running statistics of a cell alone: they have seen this batch.

    Entered again for each time that maps are computed again.
    """

    def __init__(self, cell: nn.Module):
        self.statistics = [module for module in cell.modules() if isinstance(module, Statistics)]

    def __enter__(self) -> None:
        for module in self.statistics:
            module.tracking = False

    def __exit__(self, *_: object) -> None:
        for module in self.statistics:
            module.tracking = True
