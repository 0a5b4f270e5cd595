"""Plans that are shipped or shown are valid, and what a plan can hold is explained."""

import dataclasses
import re
from pathlib import Path

import pytest

from orchestrator.__main__ import cli
from orchestrator.analyses import ANALYSES
from orchestrator.plan import Evaluate, Plan, parse_plan, read_plan
from search_space.spaces import SPACES
from searchers import METHODS
from searchers._training import TrainingParams
from searchers.estimators import ESTIMATORS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    *(f"docs/{name}.md" for name in ("plans", "darts", "spaces", "estimators", "one_shot")),
]


def yaml_blocks(name):
    return re.findall(r"```yaml\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("path", sorted((ROOT / "plans").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_shipped_plan_is_valid_and_named_like_its_file(path):
    assert read_plan(path).name == path.stem


@pytest.mark.parametrize("name", PAGES)
def test_plans_shown_in_the_documentation_are_valid(name):
    blocks = yaml_blocks(name)
    assert blocks
    for block in blocks:
        parse_plan(block, name)


@pytest.mark.parametrize(
    ("model", "page"),
    [
        (Plan, "plans"),
        (Evaluate, "plans"),
        (METHODS.load("darts").Params, "darts"),
        (METHODS.load("enas").Params, "one_shot"),
        (METHODS.load("petridish").Params, "one_shot"),
        (METHODS.load("single_path").Params, "one_shot"),
        (METHODS.load("weight_sharing_random").Params, "one_shot"),
    ],
)
def test_every_key_is_explained(model, page):
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    keys = {field.alias or name for name, field in model.model_fields.items()}
    assert {key for key in keys if not re.search(rf"\b{key}\b", text)} == set()


@pytest.mark.parametrize("name", ESTIMATORS.names())
def test_every_estimator_and_its_own_parameters_are_explained(name):
    text = (ROOT / "docs" / "estimators.md").read_text("utf-8")
    assert f"| `{name}` |" in text
    own = set(ESTIMATORS.load(name).Params.model_fields) - set(TrainingParams.model_fields)
    assert {field for field in own if f"`{field}`" not in text} == set()


@pytest.mark.parametrize("name", ANALYSES.names())
def test_every_analysis_is_explained(name):
    assert f"`{name}`" in (ROOT / "docs" / "estimators.md").read_text("utf-8")


@pytest.mark.parametrize("name", SPACES.names())
def test_every_parameter_of_a_space_is_explained(name):
    text = (ROOT / "docs" / "spaces.md").read_text("utf-8")
    row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
    fields = {field.name for field in dataclasses.fields(SPACES.load(name))}
    assert {field for field in fields if f"`{field}`" not in row} == set()


def test_spaces_in_the_table_of_nasnet_are_valid():
    text = (ROOT / "docs" / "spaces.md").read_text("utf-8")
    written = re.findall(r"`(space: [^`]*nasnet[^`]*)`", text)
    assert len(written) == 5
    for space in written:
        arm = f"{{method: random_search, {space}, budget: {{samples: 1}}}}"
        parse_plan(f"name: a\ntask: digits\narms:\n  a: {arm}\n", "docs/spaces.md")


def test_every_command_stands_in_the_readme():
    text = (ROOT / "README.md").read_text("utf-8")
    assert {name for name in cli.commands if name not in text} == set()


@pytest.mark.parametrize("name", PAGES)
def test_links_to_files_lead_somewhere(name):
    text = (ROOT / name).read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []
