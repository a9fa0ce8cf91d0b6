"""Write docs/recipes.md from the recipe's own field descriptions. A test checks that the page is current."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from stackwright.recipe import DirectorySource, InstalledSource, Recipe, section_of

PAGE = Path(__file__).with_name("recipes.md")

HEAD = """# Recipes

A recipe is a TOML file that decides everything a run contains. `stackwright build NAME` takes a built-in recipe,
`stackwright build FILE.toml` one of yours; `--set KEY=VALUE` overrides a key (the value is TOML; a bare word is a string),
and `--dry-run` prints the resolved recipe and which stages would run. The resolved recipe is saved in the run folder.

Unknown keys fail with the nearest name. This page is made by `python docs/make_recipes_page.py`.
"""


def rows_of(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return one table row per key of a section and its sub-sections."""
    rows = []
    for name, field in model.model_fields.items():
        if name == "sources":
            continue
        section = section_of(field.annotation)
        if section is not None:
            rows += rows_of(section, f"{prefix}{name}.")
        else:
            default = "required" if field.is_required() else f"`{field.default!r}`"
            rows.append(f"| `{prefix}{name}` | {default} | {field.description or ''} |")
    return rows


def page() -> str:
    """Return the whole page."""
    header = ["| key | default | what it does |", "| --- | --- | --- |"]
    parts = [HEAD, *header, *rows_of(Recipe)]
    parts += ["", "## Sources", "", "`[[sources]]` lists where code comes from; `kind` chooses one of these."]
    for source in (InstalledSource, DirectorySource):
        kind = source.model_fields["kind"].annotation.__args__[0]  # type: ignore[union-attr]
        rows = [row for row in rows_of(source) if not row.startswith("| `kind`")]
        parts += ["", f'### `kind = "{kind}"`', "", (source.__doc__ or "").strip(), "", *header, *rows]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
