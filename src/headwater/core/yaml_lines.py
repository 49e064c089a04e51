"""Read YAML into plain values while remembering the line of each, so that a problem can say where it is.

Stricter than YAML: one document, no tags, no anchors, no duplicate keys, and bounds on size and depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from headwater.core.errors import BadFile, Problem

LARGEST_FILE = 1 << 20
DEEPEST = 20

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A value and the line (from 1) on which each of its parts begins."""

    value: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """Return the line of a part, or of the nearest part around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def load(text: str, name: str, kind: str) -> Located:
    """Return a YAML text's value and line numbers; `kind` says what the file is. Raises BadFile, naming each problem's line."""
    if len(text) > LARGEST_FILE:
        raise BadFile(
            [Problem(where=name, what=f"The file is larger than {LARGEST_FILE} bytes.", hint="Put data in files of its own.")], kind
        )
    problems: list[Problem] = []
    lines: dict[Path, int] = {}
    try:
        _refuse_aliases(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadFile(
            [Problem(where=f"{name}:{line}", what=f"This is not YAML: {error.problem}.", hint="Check the indentation.")]
        ) from error
    except yaml.YAMLError as error:
        raise BadFile([Problem(where=name, what=f"This is not YAML: {error}.")], kind) from error
    value = _build(node, (), lines, problems, name) if node is not None else None
    if problems:
        raise BadFile(problems, kind)
    return Located(value=value, lines=lines)


def _refuse_aliases(text: str) -> None:
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.AnchorToken | yaml.AliasToken | yaml.TagToken):
            raise yaml.MarkedYAMLError(problem="anchors, aliases and tags are not used here", problem_mark=token.start_mark)


def _build(node: yaml.Node, path: Path, lines: dict[Path, int], problems: list[Problem], name: str) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if len(path) > DEEPEST:
        problems.append(Problem(where=f"{name}:{line}", what=f"Nested deeper than {DEEPEST} levels."))
        return None
    if isinstance(node, yaml.MappingNode):
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _scalar(key_node)
            if key in result:
                problems.append(
                    Problem(where=f"{name}:{key_node.start_mark.line + 1}", what=f"'{key}' stands here twice.", hint="Keep one.")
                )
            lines[(*path, key)] = key_node.start_mark.line + 1
            result[key] = _build(value_node, (*path, key), lines, problems, name)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_build(one, (*path, place), lines, problems, name) for place, one in enumerate(node.value)]
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    """Return a scalar as YAML's safe schema reads it, but a date as its text: JSON has none."""
    loader = yaml.SafeLoader("")
    try:
        if node.tag == "tag:yaml.org,2002:timestamp":
            return node.value
        return loader.construct_object(node, deep=True) if isinstance(node, yaml.ScalarNode) else str(node.value)
    finally:
        loader.dispose()
