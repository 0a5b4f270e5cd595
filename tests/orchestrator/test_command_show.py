"""The command `show`: genotypes in every form, and drawings."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from command_runs import Run, one_line
from orchestrator.__main__ import USER
from orchestrator.store import Store
from search_space.genotype import Genotype
from search_space.spaces import SPACES

pytestmark = pytest.mark.usefixtures("offline")

# Liu, Simonyan, Yang: DARTS, ICLR 2019; as printed in quark0/darts, genotypes.py.
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)


def test_the_published_cells_are_printed_in_every_form_and_drawn(run: Run, tmp_path: Path) -> None:
    svg = tmp_path / "cells" / "v2.svg"
    code, out, err = run("show", DARTS_V2, "--svg", str(svg))
    assert (code, err) == (0, "")
    shown = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert list(shown) == ["key", "space", "json", "text", "drawn"]
    genotype = Genotype.from_json(shown["json"])
    assert shown["key"] == genotype.key
    assert shown["space"] == genotype.space == "darts"
    space = SPACES.load("darts")()
    assert space.parse(shown["text"]) == space.parse(DARTS_V2) == genotype
    assert shown["drawn"] == str(svg)
    drawn = ET.parse(svg).getroot()
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    texts = " ".join(drawn.itertext())
    for word in ("sep_conv_3x3", "dil_conv_3x3", "skip_connect", "max_pool_3x3", "Reduction"):
        assert word in texts


@pytest.mark.parametrize(
    ("text", "space", "word"),
    [
        ("[C(2,3,1), P(3,2)]", "chain", "max_pool 3"),
        # As in Zhong et al. 2018, figure 2.
        ("[(1,4,0,0,0), (2,1,3,1,0), (3,5,0,1,2), (4,7,0,0,0)]", "block_qnn", "conv_3x3"),
    ],
)
def test_an_architecture_without_cells_is_printed_and_drawn(
    run: Run, tmp_path: Path, text: str, space: str, word: str
) -> None:
    svg = tmp_path / "drawn.svg"
    code, out, err = run("show", text, "--svg", str(svg))
    assert (code, err) == (0, "")
    shown = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert (shown["space"], shown["text"]) == (space, text)
    assert word in " ".join(ET.parse(svg).getroot().itertext())


def test_a_genotype_in_a_log_line_or_in_json_is_the_same_genotype(run: Run, tmp_path: Path) -> None:
    _, first, _ = run("show", f"2024-05-17 12:00:00 INFO genotype = {DARTS_V2}")
    keyed = dict(line.split(maxsplit=1) for line in first.splitlines())
    assert (tmp_path / f"{keyed['key']}.svg").is_file()
    _, second, _ = run("show", keyed["json"])
    assert second == first


def test_a_genotype_is_shown_by_the_beginning_of_its_key(run: Run, tmp_path: Path) -> None:
    genotype = SPACES.load("darts")().parse(DARTS_V2)
    row = {"key": genotype.key, "space": "darts", "genotype": genotype.to_json(), "text": ""}
    Store(str(tmp_path / "results")).add("genotypes", "a", [row])
    code, out, _ = run("show", genotype.key[:5])
    assert code == 0
    assert genotype.to_json() in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DARTS_V2.replace("dil_conv_3x3", "dil_conv_3x4"), ["dil_conv_3x4", "'dil_conv_3x3'"]),
        (DARTS_V2.replace("('skip_connect', 0)", "('skip_connect', 9)"), ["9"]),
        (DARTS_V2[:-10], ["ends within"]),
        ("Genotype(normal=[])", ["fields"]),
        ('{"space": "darts", "structure": {}}', ["cells"]),
        ("hello world", ["Genotype(", "JSON"]),
        ("", ["Genotype(", "JSON"]),
        ("__import__('os').getcwd()", ["JSON"]),
    ],
)
def test_a_genotype_that_cannot_be_read_is_one_line(text: str, said: list[str], run: Run) -> None:
    message = one_line(run("show", text))
    assert all(part in message for part in said)


def test_an_unknown_key_of_a_genotype_is_one_line(run: Run, tmp_path: Path) -> None:
    message = one_line(run("show", "0123abcd"))
    assert "'0123abcd'" in message
    assert str(tmp_path / "results") in message, "it must say in which store it was looked up"


def test_a_drawing_that_cannot_be_written_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    code, _, err = run("show", DARTS_V2, "--svg", str(tmp_path / "file" / "cells.svg"))
    assert code == USER
    assert len(err.splitlines()) == 1
    assert "cells.svg" in err
