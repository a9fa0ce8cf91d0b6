"""Recipes: what is read is what was written, and every mistake is one line with the value and the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from stackwright.errors import RecipeError
from stackwright.recipe import Recipe, builtin_recipes, dump_recipe, load_recipe, parse_recipe, section_of


@pytest.mark.parametrize("name", builtin_recipes())
def test_built_in_recipes_load_and_survive_a_round_trip(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    path = tmp_path / "copy.toml"
    path.write_text(dump_recipe(recipe), "utf-8")
    assert load_recipe(str(path)) == recipe


def test_overrides_change_the_named_keys_and_nothing_else() -> None:
    before, after = load_recipe("tiny"), load_recipe("tiny", ["train.steps=7", "sources.0.standard_library=false"])
    assert after.train.steps == 7
    assert not after.sources[0].standard_library  # type: ignore[union-attr]
    assert after.model == before.model
    assert after.train.model_copy(update={"steps": before.train.steps}) == before.train


def test_a_directory_can_be_given_on_the_command_line() -> None:
    recipe = load_recipe("tiny", ["sources=[{kind='directory', path='some where'}]"])
    assert recipe.sources[0].path == "some where"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stepz=3", r"unknown recipe key 'train.stepz'; did you mean 'steps'\?"),
        ("curate.filters.max_line=3", r"unknown recipe key 'curate.filters.max_line'; did you mean 'max_line_length'"),
        ("sources.0.pth=x", r"unknown recipe key 'sources.0.pth'; known: exclude, include, kind, standard_library"),
        ("train.steps=abc", r"train.steps = 'abc': .*valid integer.*--set train.steps=VALUE"),
        ("train.steps=0", r"train.steps = 0: .*greater than 0"),
        ("train.peak_lr=nan", r"train.peak_lr = nan: .*finite"),
        ("data.seq_len=9999", r"data.seq_len 9999 must not exceed model.max_seq_len"),
        ("model.num_heads=5", r"hidden_size \d+ must be a multiple of num_heads 5"),
        ("model.num_kv_heads=2", r"num_kv_heads 2 must be 1 \(multi-query\)"),
        ("curate.split.test_fraction=0.99", r"must stay below 1"),
        ("sources=[]", r"recipe key sources: .*at least 1 item"),
        ("sources.7.path=x", r"'7' is not an index of a list of 1; count from 0"),
        ("train.steps.more=1", r"train.steps"),
        ("nothing", r"--set 'nothing' is not KEY=VALUE; write it like"),
        ("name='a/b'", r"recipe key name = 'a/b'"),
    ],
)
def test_mistakes_are_one_line_that_names_value_rule_and_action(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe("tiny", [override])
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"'tinny' is neither built in nor a file; did you mean 'tiny'\?"):
        load_recipe("tinny")


def test_a_file_that_is_not_toml_says_where(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("name = \n", "utf-8")
    with pytest.raises(RecipeError, match=r"bad.toml is not TOML .*line 1"):
        load_recipe(str(path))
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(str(path))


@given(st.text(min_size=0, max_size=30))
def test_any_text_survives_the_written_recipe(text: str) -> None:
    values = {"name": "x", "sources": [{"kind": "directory", "path": text}]}
    try:
        recipe = parse_recipe(values)
    except RecipeError:
        return
    import tomllib

    assert parse_recipe(tomllib.loads(dump_recipe(recipe))) == recipe


def sections_of(model: type[BaseModel], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        if section is not None and name != "sources":
            found += sections_of(section, f"{prefix}{name}.")
        elif name != "sources":
            found.append((f"{prefix}{name}", field))
    return found


@pytest.mark.parametrize(("key", "field"), sections_of(Recipe), ids=lambda value: value if isinstance(value, str) else "")
def test_every_key_is_described_and_documented(key: str, field: Any) -> None:
    assert field.description, f"{key} has no description"
    page = (Path(__file__).parent.parent / "docs" / "recipes.md").read_text("utf-8")
    assert f"`{key}`" in page, f"docs/recipes.md does not name {key}; run: python docs/make_recipes_page.py"
