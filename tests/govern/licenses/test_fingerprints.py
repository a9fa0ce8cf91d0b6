"""The fingerprints and the comparison with them: what is shipped, and how places are found."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources

import numpy as np
import pytest

from stackwright.govern.licenses.align import find_occurrences
from stackwright.govern.licenses.fingerprints import NOT_COMPARED, NOT_KNOWN, Fingerprints, load_fingerprints, word_hash
from stackwright.govern.licenses.make_fingerprints import LIST_VERSION, compared_words, fingerprints_of, read_text
from stackwright.govern.licenses.words import VERSION, read_words

TEXTS = {
    "Tea-1.0": {
        "name": "Tea License 1.0",
        "licenseText": "Tea License\n\nCopyright <year> <name>\n\nWhoever drinks this tea may pour it on for friends and"
        " strangers alike, as long as the cup that it came in goes along with it and nobody sells hot water as tea.\n\n"
        "END OF TERMS AND CONDITIONS\n\nHow to serve: warm the pot before the leaves go in.\n",
    },
    "Milk-only": {
        "name": "Milk License",
        "licenseText": "Whoever pours milk first has no say in the matter of biscuits, which go round the table by the"
        " left hand until none is there, and then the other way.",
    },
    "Milk-or-later": {
        "name": "Milk License or later",
        "licenseText": "* Whoever pours milk first has no say in the matter of biscuits, which go round the table by\n"
        "* the left hand until none is there, and then the other way.",
    },
}


@pytest.fixture(scope="module")
def prints() -> Fingerprints:
    facts, arrays = fingerprints_of(TEXTS)
    return Fingerprints(facts, arrays["hashes"], arrays["row"])


def numbers_of(prints: Fingerprints, text: str) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array([prints.numbers[word] for word in compared_words(read_words(text))], dtype=np.int32)


def test_the_files_say_what_they_were_made_from_and_hold_hashes_only() -> None:
    prints = load_fingerprints()
    source = prints.facts["source"]
    assert (source["package"], source["version"], source["license"]) == ("spdx-license-list", LIST_VERSION, "CC0-1.0")
    assert len(source["sha256"]) == 64
    assert prints.facts["rules"] == VERSION
    folder = resources.files("stackwright.govern.licenses")
    with resources.as_file(folder / "fingerprints.npz") as path, np.load(path, allow_pickle=False) as arrays:
        assert {name: array.dtype for name, array in arrays.items()} == {"hashes": np.uint32, "row": np.uint16}
        assert len(np.unique(arrays["hashes"])) == len(arrays["hashes"])
        assert int(arrays["row"].max()) < len(arrays["hashes"])
        assert path.stat().st_size < 1_500_000
    assert sum(template.size for template in prints.templates) == len(prints.row)


def test_importing_the_package_loads_neither_numpy_nor_the_fingerprints() -> None:
    program = "import sys, stackwright.govern.licenses\nprint('numpy' in sys.modules, 'license_expression' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "True"]


def test_texts_that_read_the_same_are_one_under_the_id_that_claims_least(prints: Fingerprints) -> None:
    assert [template.ids for template in prints.templates] == [("Milk-only", "Milk-or-later"), ("Tea-1.0",)]


def test_title_and_appendix_may_be_missing() -> None:
    text = read_text(TEXTS["Tea-1.0"]["licenseText"])
    (title, appendix) = text.optional
    assert text.words[slice(*title)] == ("tea", "license")
    assert text.words[slice(*appendix)][:5] == ("end", "of", "terms", "and", "conditions")


def test_words_are_numbered_by_their_hash_and_others_are_not_known(prints: Fingerprints) -> None:
    facts, arrays = fingerprints_of(TEXTS)
    assert arrays["hashes"][prints.numbers["biscuits"]] == word_hash("biscuits")
    assert prints.numbers["biscuits"] == prints.numbers["biscuits"]
    assert prints.numbers["cheese"] == NOT_KNOWN
    assert prints.numbers["7"] == prints.numbers["iv"] == NOT_COMPARED
    assert facts["texts"][0]["ids"] == ["Milk-only", "Milk-or-later"]


@pytest.mark.parametrize("leave_out", ["nothing", "title", "appendix", "both"])
def test_a_text_is_found_whole_with_or_without_what_may_be_missing(prints: Fingerprints, leave_out: str) -> None:
    text = TEXTS["Tea-1.0"]["licenseText"]
    if leave_out in ("title", "both"):
        text = text.removeprefix("Tea License\n")
    if leave_out in ("appendix", "both"):
        text = text.partition("END OF")[0]
    found = find_occurrences(numbers_of(prints, text), prints)[0]
    assert (found.template.license_id, found.num_missing, found.num_extra, found.coverage) == ("Tea-1.0", 0, 0, 1.0)


def test_words_that_are_added_changed_and_missing_are_counted_where_they_are(prints: Fingerprints) -> None:
    text = TEXTS["Milk-only"]["licenseText"]
    changed = text.replace("biscuits, ", "biscuits and dry cake, ").replace("table ", "").replace("other way", "wrong way")
    numbers = numbers_of(prints, f"Before it stand five words. {changed} And after.")
    found = find_occurrences(numbers, prints)[0]
    assert found.start == 5
    assert found.end == len(numbers) - 2
    assert found.num_extra == 4  # and dry cake, wrong
    assert found.num_missing == 2  # table, other
    words = compared_words(read_words(f"Before it stand five words. {changed}"))
    assert [words[start:end] for start, end in found.extra] == [("and", "dry", "cake"), ("wrong",)]


def test_each_of_two_copies_is_found(prints: Fingerprints) -> None:
    text = TEXTS["Milk-only"]["licenseText"]
    numbers = numbers_of(prints, f"{text}\n\nAnd once more.\n\n{text}")
    found = find_occurrences(numbers, prints)
    size = found[0].template.size
    assert sorted((item.start, item.end) for item in found) == [(0, size), (size + 3, 2 * size + 3)]


def test_a_text_that_shares_a_few_words_is_not_found(prints: Fingerprints) -> None:
    assert find_occurrences(numbers_of(prints, "Whoever pours milk first has no say, and then drinks tea."), prints) == []
    assert find_occurrences(numbers_of(prints, ""), prints) == []
