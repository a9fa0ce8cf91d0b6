"""Every text of the SPDX list, fetched with npm: run with STACKWRIGHT_NETWORK=1, skipped otherwise."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stackwright.govern.licenses.classes import class_of
from stackwright.govern.licenses.combine import EXCEPTIONS_OF_OLD_IDS
from stackwright.govern.licenses.fingerprints import load_fingerprints
from stackwright.govern.licenses.make_fingerprints import LIST_VERSION, fetch_list, fingerprints_of, further_texts
from stackwright.govern.licenses.recognize import recognize


@pytest.fixture(scope="module")
def spdx_list(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    if os.environ.get("STACKWRIGHT_NETWORK") != "1":
        pytest.skip("STACKWRIGHT_NETWORK=1 is not set: the list is fetched from the network")
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    return fetch_list(LIST_VERSION, Path(tmp_path_factory.mktemp("list")))


def same_text() -> dict[str, tuple[str, ...]]:
    ids = {license_id: template.ids for template in load_fingerprints().templates for license_id in template.ids}
    present = {
        old: f"{old.partition('-with-')[0]}-only WITH {exception}" for old, exception in EXCEPTIONS_OF_OLD_IDS.items()
    }
    return {license_id: (*names, *(present[name] for name in names if name in present)) for license_id, names in ids.items()}


def rewrapped(text: str) -> str:
    return "\n\n".join(textwrap.fill(" ".join(part.split()), 66) for part in re.split(r"\n\s*\n", text))


# These have a text that nothing tells from prose, or that only looks like that of the id that replaced theirs.
ODD = {"any-OSI", "GPL-3.0+", "bzip2-1.0.5"}


def test_the_shipped_fingerprints_are_those_of_the_list(spdx_list: tuple[dict[str, Any], dict[str, Any]]) -> None:
    texts, source = spdx_list
    facts, arrays = fingerprints_of(texts, further_texts())
    shipped = load_fingerprints()
    assert source == shipped.facts["source"]
    assert len(facts["texts"]) == len(shipped.facts["texts"])
    assert np.array_equal(arrays["row"], shipped.row)


def test_every_text_is_recognised_as_itself(spdx_list: tuple[dict[str, Any], dict[str, Any]]) -> None:
    ids, wrong = same_text(), {}
    for license_id, entry in spdx_list[0].items():
        found = recognize(entry["licenseText"])
        if found.expression not in ids[license_id]:
            wrong[license_id] = found.expression
    assert wrong.keys() <= ODD, wrong


@pytest.mark.parametrize("sign", ["# ", " * ", ""])
def test_every_text_is_recognised_however_it_is_set(spdx_list: tuple[dict[str, Any], dict[str, Any]], sign: str) -> None:
    ids, wrong, permissive = same_text(), {}, []
    for license_id, entry in spdx_list[0].items():
        text = (
            rewrapped(entry["licenseText"])
            if not sign
            else "\n".join(sign + line for line in entry["licenseText"].splitlines())
        )
        found = recognize(f"Copyright (c) 2011 Jane Doe\n\n{text}")
        if found.expression not in ids[license_id]:
            wrong[license_id] = found.expression
        if found.license_class == "permissive" and class_of(license_id) != "permissive":
            permissive.append(license_id)
    assert permissive == []
    # Paragraphs that begin with a copyright line or hold a table do not survive every wrapping.
    assert len(wrong) < (100 if not sign else 10), wrong


def test_no_text_that_is_not_permissive_becomes_so_when_it_is_cut(spdx_list: tuple[dict[str, Any], dict[str, Any]]) -> None:
    permissive = []
    for license_id, entry in spdx_list[0].items():
        text = entry["licenseText"]
        if class_of(license_id) != "permissive":
            pieces = (text[: len(text) * 2 // 3], text[len(text) // 3 :], text[len(text) // 5 : len(text) * 4 // 5])
            permissive += [license_id for piece in pieces if recognize(piece).license_class == "permissive"]
    # What is left of these without the paragraph about exports is another licence of the list, word for word.
    assert set(permissive) <= {"HPND-export-US", "HPND-UC-export-US"}
