"""YAML as plans are written in: safe, and no key twice."""

from __future__ import annotations

from typing import Any

import yaml

from orchestrator.errors import PlanError


def load_yaml(text: str, source: str) -> Any:
    """Read YAML text. Raises PlanError with the line of what cannot be read."""
    try:
        return yaml.load(text, Loader=_UniqueKeys)  # a SafeLoader
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise PlanError(source, [(f"line {line}", f"not YAML: {error.reason}")]) from None
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise PlanError(source, [(where, f"not YAML: {error.problem}")]) from None
    except RecursionError:
        raise PlanError(source, [("", "not YAML: too many brackets within one another")]) from None


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a mapping that has a key twice: the first would be lost without a word.

    Looked at before anything is constructed, since that mixes merged mappings (``<<``) in.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            fault = None
            if not isinstance(key, yaml.ScalarNode):
                fault = "a key must be a name"
            elif key.value in seen:
                fault = f"the key {key.value!r} stands twice"
            if fault:
                raise yaml.constructor.ConstructorError(None, None, fault, key.start_mark)
            seen.add(key.value)
        return node
