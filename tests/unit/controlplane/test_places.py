"""Places tells where each key and value of a text stands, in every way that TOML and JSON have to write them."""

import json
import tomllib
from typing import Any

import pytest

from controlplane.profiles import shipped_names, shipped_text
from controlplane.profiles.fields import Path
from controlplane.profiles.places import Places, line_and_column

TOML = r'''
# [not.a.table] = "nor a value"
plain = "with # and = and [ and \" in it" # "comment"
literal='C:\no\escape'
long = """
two = "lines" ""\"""" # a value of its own
quotes = """ends with "two"""""
raw = \'\'\'
it''s '\'\'\'\'
"quoted key" . 'other' = 1.5
when = 1979-05-27 07:32:00
list = [ 1, [2, 'a]b'], # ]
  {deep = true , deeper.still = false},
]
empty = []
nothing = {}

  [table]
inside = {a = 1, "b,}" = [2, 3]}
  [table.'sub table']
x = -7

[[egress]]
domain = "a"
[[egress]]
domain = "b"
  [egress.more]
y = 1
[[egress.rules]]
z = 2
[[ egress . rules ]]
z = 3
'''.replace("\\'", "'")

KEYS: dict[Path, str] = {
    ("plain",): "plain =",
    ("literal",): "literal=",
    ("quoted key",): '"quoted key" .',
    ("quoted key", "other"): "'other' = 1.5",
    ("list", 2, "deeper"): "deeper.still",
    ("list", 2, "deeper", "still"): "still = false",
    ("table",): "table]\ninside",
    ("table", "inside", "b,}"): '"b,}" = [2',
    ("table", "sub table"): "'sub table']",
    ("egress", 1): 'egress]]\ndomain = "b"',
    ("egress", 1, "more"): "more]\ny",
    ("egress", 1, "rules", 1): "rules ]]\nz = 3",
}
VALUES: dict[Path, str] = {
    ("plain",): '"with #',
    ("literal",): "'C:",
    ("long",): '"""\ntwo',
    ("quotes",): '"""ends with',
    ("raw",): "'''\nit",
    ("quoted key", "other"): "1.5\n",
    ("when",): "1979-05-27 07:32:00\n",
    ("list",): "[ 1,",
    ("list", 0): "1, [2",
    ("list", 1): "[2, 'a]b']",
    ("list", 1, 1): "'a]b'",
    ("list", 2): "{deep",
    ("list", 2, "deep"): "true ,",
    ("list", 2, "deeper", "still"): "false}",
    ("empty",): "[]\n",
    ("nothing",): "{}\n",
    ("table", "inside", "b,}", 1): "3]}",
    ("table", "sub table", "x"): "-7",
    ("egress", 0, "domain"): '"a"',
    ("egress", 1, "domain"): '"b"',
    ("egress", 1, "more", "y"): "1\n[[",
    ("egress", 1, "rules", 0, "z"): "2\n",
    ("egress", 1, "rules", 1, "z"): "3\n",
    ("egress", 1, "absent"): 'egress]]\ndomain = "b"',  # the nearest table around it
}


@pytest.mark.parametrize("path", KEYS)
def test_keys_of_toml(path: Path):
    assert TOML[Places(TOML, is_json=False).of(path, key=True) :].startswith(KEYS[path])


@pytest.mark.parametrize("path", VALUES)
def test_values_of_toml(path: Path):
    assert TOML[Places(TOML, is_json=False).of(path) :].startswith(VALUES[path])


def leaves(value: Any, path: Path = ()) -> dict[Path, Any]:
    """Every value of a document that has none in it."""
    inside = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    found = {place: leaf for step, item in inside for place, leaf in leaves(item, (*path, step)).items()}
    return found or {path: value}


@pytest.mark.parametrize("text", [TOML, *map(shipped_text, shipped_names())])
def test_every_value_of_a_document_stands_where_it_is_told(text: str):
    document = tomllib.loads(text)
    places = Places(text, is_json=False)
    found = leaves(document)
    assert len({places.of(path) for path in found}) == len(found)
    for path, value in found.items():
        rest = text[places.of(path) :]
        ends = (i for i in range(1, len(rest) + 1) if _is_toml(rest[:i]))
        assert any(tomllib.loads(f"x = {rest[:end]}")["x"] == value for end in ends), path
    assert places.repeated == []


def _is_toml(value: str) -> bool:
    try:
        tomllib.loads(f"x = {value}")
    except tomllib.TOMLDecodeError:
        return False
    return True


@pytest.mark.parametrize("indent", [None, 0, 3])
def test_every_value_of_json_stands_where_it_is_told(indent: int | None):
    document = {"a": [1, {"b": 'c:",]', "": None}, '\\"é'], 'k"\\': {}, "d": [[], [True, -1.5e3]], "\u2028": ""}
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    places = Places(text, is_json=True)
    for path, value in leaves(document).items():
        assert json.JSONDecoder().raw_decode(text, places.of(path))[0] == value, path
        if isinstance(path[-1], str):
            assert json.JSONDecoder().raw_decode(text, places.of(path, key=True))[0] == path[-1]


def test_a_key_that_stands_twice_in_json():
    text = '{"a": {"b": 1,\n"b": 2}, "b": 3}'
    places = Places(text, is_json=True)
    assert places.repeated == [("a", "b")]
    assert line_and_column(text, places.of(("a", "b"), key=True)) == (2, 1)
