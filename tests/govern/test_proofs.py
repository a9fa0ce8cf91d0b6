"""Proofs: what is in the list can be shown to be, what is not cannot, and neither can be forged."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.errors import ProofError
from stackwright.govern.proofs import MerkleTree, Proof, merkle_root, prove, verify

SCRIPT = Path(__file__).parents[2] / "docs" / "verify_proof.py"


def content_ids(count: int) -> list[str]:
    return [sha1(str(number).encode(), usedforsecurity=False).hexdigest() for number in range(count)]


def load_script() -> Any:
    spec = importlib.util.spec_from_file_location("verify_proof", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check_proof: Callable[[dict[str, Any], str], str] = load_script().check_proof


def tree_by_definition(ids: Sequence[str]) -> bytes:
    """The hash of RFC 6962, written from its recursive definition."""
    if not ids:
        return sha256(b"").digest()
    if len(ids) == 1:
        return sha256(b"\x00" + bytes.fromhex(ids[0])).digest()
    split = 1
    while split * 2 < len(ids):
        split *= 2
    return sha256(b"\x01" + tree_by_definition(ids[:split]) + tree_by_definition(ids[split:])).digest()


def root_by_definition(ids: Sequence[str]) -> str:
    ids = sorted(set(ids))
    return sha256(b"\x02" + len(ids).to_bytes(8, "big") + tree_by_definition(ids)).hexdigest()


ids_strategy = st.sets(st.binary(min_size=20, max_size=20).map(bytes.hex), max_size=40)
# Ids that are close to one another, so that an id that is asked for often is there, or beside one that is.
near_strategy = st.sets(st.integers(0, 60).map(lambda number: f"{number:040x}"), max_size=40)


@pytest.mark.parametrize("count", range(34))
def test_the_root_is_that_of_the_definition(count: int) -> None:
    assert merkle_root(content_ids(count)) == root_by_definition(content_ids(count))


def test_known_roots_do_not_change() -> None:
    assert merkle_root([]) == sha256(b"\x02" + bytes(8) + sha256().digest()).hexdigest()
    assert merkle_root(content_ids(5)) == "a3794cc83c14cdbe0c5ed675995bdce27dca8a4685f1d5bc48eecf0d2751093e"


@given(ids_strategy)
def test_order_and_repetition_do_not_matter(ids: set[str]) -> None:
    in_order = sorted(ids)
    assert merkle_root([*reversed(in_order), *in_order]) == merkle_root(in_order) == root_by_definition(in_order)


@given(ids_strategy | near_strategy, st.integers(0, 60).map(lambda number: f"{number:040x}"))
def test_every_id_has_a_proof_of_its_kind_that_both_verifiers_accept(ids: set[str], other: str) -> None:
    tree = MerkleTree.build(ids)
    for content_id in {*ids, other}:
        value = json.loads(json.dumps(tree.prove(content_id).to_json()))
        proof = Proof.from_json(value)
        assert proof == tree.prove(content_id)
        assert proof.kind == ("inclusion" if content_id in ids else "non_inclusion")
        verify(proof, content_id, tree.root)
        shown = check_proof(value, tree.root)
        assert shown.startswith(f"{content_id} is {'one' if content_id in ids else 'none'} of the {len(ids)} ")


def refused(value: Any, content_id: str, root: str) -> str:
    """Require that both verifiers refuse; returns the reason of the package."""
    with pytest.raises((ValueError, KeyError, TypeError)):
        check_proof(value, root)
    with pytest.raises(ProofError) as caught:
        verify(Proof.from_json(value), content_id, root)
    return str(caught.value)


@given(near_strategy.filter(bool), st.data())
def test_no_proof_of_the_other_kind_can_be_put_together(ids: set[str], data: st.DataObject) -> None:
    """Whoever has the whole tree may combine its true leaves as he likes: absence of what is there cannot be shown."""
    tree = MerkleTree.build(ids)
    there = data.draw(st.sampled_from(sorted(ids)))
    leaves = [None, *(tree.prove(content_id).left for content_id in sorted(ids))]
    left, right = data.draw(st.sampled_from(leaves)), data.draw(st.sampled_from(leaves))
    size = data.draw(st.integers(0, len(ids) + 1))
    refused(Proof("non_inclusion", there, tree.root, size, left, right).to_json(), there, tree.root)


@given(near_strategy, near_strategy, st.integers(0, 60).map(lambda number: f"{number:040x}"))
def test_a_proof_does_not_hold_against_the_root_of_another_release(first: set[str], second: set[str], asked: str) -> None:
    if first == second:
        return
    value = prove(first, asked).to_json()
    root = merkle_root(second)
    assert "is against the root" in refused(value, asked, root)
    assert "root" in refused(value | {"root": root}, asked, root) or len(first) != len(second)


TEN = sorted(content_ids(10))
ABSENT = f"{int(TEN[4], 16) + 1:040x}"
BELOW, ABOVE = "0" * 40, "f" * 40


def edited(value: dict[str, Any], place: Sequence[str | int], new: Any) -> dict[str, Any]:
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = new(inner[place[-1]]) if callable(new) else new
    return dict(copy)


def flipped(text: str) -> str:
    return f"{int(text[0], 16) ^ 1:x}{text[1:]}"


def leaf_of(index: int) -> dict[str, Any]:
    leaf = prove(TEN, TEN[index]).left
    assert leaf is not None
    return leaf.to_json()


INCLUSION = prove(TEN, TEN[4]).to_json()
NON_INCLUSION = prove(TEN, ABSENT).to_json()


@pytest.mark.parametrize(
    ("value", "asked", "why"),
    [
        (edited(INCLUSION, ["path", 0], flipped), TEN[4], "does not lead to the root"),
        (edited(INCLUSION, ["path"], lambda path: path[:-1]), TEN[4], "too short"),
        (edited(INCLUSION, ["path"], lambda path: [*path, path[-1]]), TEN[4], "too long"),
        (edited(INCLUSION, ["path"], lambda path: path[::-1]), TEN[4], "does not lead"),
        (edited(INCLUSION, ["index"], 5), TEN[4], "does not lead"),
        (edited(INCLUSION, ["index"], 10), TEN[4], "place 10 is not one of 10"),
        (edited(INCLUSION, ["size"], 9), TEN[4], "does not lead"),
        (edited(INCLUSION, ["size"], 11), TEN[4], "does not lead"),
        (edited(INCLUSION, ["size"], 100), TEN[4], "too short"),
        (edited(INCLUSION, ["id"], TEN[5]), TEN[5], "does not lead"),
        (edited(INCLUSION, ["id"], ABSENT), ABSENT, "does not lead"),
        (edited(NON_INCLUSION, ["left"], leaf_of(3)), ABSENT, "3 and 5 of 10 are not side by side"),
        (edited(NON_INCLUSION, ["right"], leaf_of(6)), ABSENT, "4 and 6 of 10 are not side by side"),
        (edited(NON_INCLUSION, ["left", "index"], 3), ABSENT, "not side by side"),
        (edited(NON_INCLUSION, ["left"], None), ABSENT, "-1 and 5 of 10 are not side by side"),
        (edited(NON_INCLUSION, ["right"], None), ABSENT, "4 and 10 of 10 are not side by side"),
        (edited(edited(NON_INCLUSION, ["right"], None), ["size"], 5), ABSENT, "too long"),
        (edited(NON_INCLUSION, ["left", "id"], flipped), ABSENT, "is not below|does not lead"),
        (edited(NON_INCLUSION, ["left", "id"], BELOW), ABSENT, "does not lead"),
        (edited(NON_INCLUSION, ["right", "id"], ABOVE), ABSENT, "does not lead"),
        (edited(NON_INCLUSION, ["left", "path", 0], flipped), ABSENT, "does not lead"),
        (edited(NON_INCLUSION, ["right", "path", 1], flipped), ABSENT, "does not lead"),
        (NON_INCLUSION | {"left": NON_INCLUSION["right"], "right": NON_INCLUSION["left"]}, ABSENT, "is not below"),
        (NON_INCLUSION | {"left": leaf_of(4), "right": leaf_of(5), "id": TEN[4]}, TEN[4], "is not below"),
        (NON_INCLUSION | {"left": leaf_of(4), "right": leaf_of(5), "id": TEN[5]}, TEN[5], "is not above"),
        (NON_INCLUSION | {"left": leaf_of(3), "right": leaf_of(4)}, ABSENT, "is not above"),
        (NON_INCLUSION | {"left": None, "right": None, "size": 0}, ABSENT, "not that of no ids"),
        (NON_INCLUSION | {"left": None, "right": None}, ABSENT, "-1 and 10 of 10 are not side by side"),
    ],
)
def test_a_forged_proof_is_refused_with_the_reason(value: dict[str, Any], asked: str, why: str) -> None:
    root = merkle_root(TEN)
    assert any(part in refused(value, asked, root) for part in why.split("|"))


def test_ends_and_empty_lists_have_proofs_too() -> None:
    for ids, asked in ((TEN, BELOW), (TEN, ABOVE), ([], ABSENT), (TEN[:1], BELOW), (TEN[:1], ABOVE)):
        proof = prove(ids, asked)
        verify(proof, asked, merkle_root(ids))
        assert (proof.left is None) == (asked == BELOW or not ids)
        assert (proof.right is None) == (asked == ABOVE or not ids)


def test_the_number_of_ids_is_bound_by_the_root() -> None:
    """The way from the last of three leaves is also one from the last of two: only the root tells them apart."""
    value, root = prove(TEN[:3], TEN[2]).to_json(), merkle_root(TEN[:3])
    assert "does not lead to the root" in refused(value | {"index": 1, "size": 2}, TEN[2], root)


def test_both_verifiers_refuse_what_only_looks_like_a_proof() -> None:
    root, last = merkle_root(TEN[:2]), prove(TEN[:2], TEN[1]).to_json()
    assert "index -1" in refused(last | {"index": -1}, TEN[1], root)  # -1 is odd, as the place of the last of two is
    assert "format" in refused(last | {"format": 2}, TEN[1], root)
    assert "'both'" in refused(last | {"kind": "both"}, TEN[1], root)
    assert "is not an id" in refused(prove([], ABSENT).to_json() | {"id": "x"}, "x", merkle_root([]))


def test_the_leaf_of_a_proof_is_that_of_its_id() -> None:
    proof = prove(TEN, TEN[4])
    with pytest.raises(ProofError, match="does not say where the id stands"):
        verify(replace(proof, id=TEN[5]), TEN[5], proof.root)


def test_a_proof_about_another_id_is_refused() -> None:
    proof = prove(TEN, TEN[4])
    with pytest.raises(ProofError, match=f"the proof is about {TEN[4]}, not about {TEN[5]}; take the proof from"):
        verify(proof, TEN[5], proof.root)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([], "has format 1"),
        (INCLUSION | {"format": 2}, "this has 2"),
        (INCLUSION | {"format": True}, "this has True"),
        (INCLUSION | {"kind": "both"}, "'both'"),
        (INCLUSION | {"note": 1}, "unknown key 'note'"),
        ({key: INCLUSION[key] for key in INCLUSION if key != "path"}, "lacks 'path'"),
        (INCLUSION | {"id": TEN[4].upper()}, "is not an id"),
        (INCLUSION | {"id": 5}, "is not an id"),
        (NON_INCLUSION | {"id": ABSENT.upper()}, "is not an id"),
        (INCLUSION | {"root": "0"}, "is not a root"),
        (INCLUSION | {"index": -1}, "index -1 is not"),
        (INCLUSION | {"index": 4.0}, "index 4.0 is not"),
        (INCLUSION | {"size": True}, "size True is not"),
        (INCLUSION | {"size": 2**64}, "is not a number of ids"),
        (INCLUSION | {"path": "0" * 64}, "a path is a list"),
        (INCLUSION | {"path": ["0"]}, "is not a hash"),
        (NON_INCLUSION | {"left": 3}, "a leaf is an object"),
        (NON_INCLUSION | {"left": {"id": TEN[4]}}, "lacks 'index'"),
    ],
)
def test_what_is_no_proof_is_refused_with_the_reason(value: Any, why: str) -> None:
    with pytest.raises(ProofError) as caught:
        Proof.from_json(value)
    assert why in str(caught.value)


def test_only_content_ids_are_leaves_and_questions() -> None:
    for wrong in ("", "abc", TEN[0].upper(), TEN[0] + "\n"):
        with pytest.raises(ProofError, match="is not a content id"):
            merkle_root([TEN[1], wrong])
        with pytest.raises(ProofError, match="is not a content id"):
            prove(TEN, wrong)


def test_a_path_is_no_longer_than_the_tree_is_high() -> None:
    tree = MerkleTree.build(content_ids(1000))
    leaf = tree.prove(tree.ids[0]).left
    assert leaf is not None
    assert len(leaf.path) == 10


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(SCRIPT), *arguments]  # no packages: the standard library alone
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_script_runs_without_the_package(tmp_path: Path) -> None:
    path, root = tmp_path / "proof.json", merkle_root(TEN)
    path.write_text(json.dumps(INCLUSION))
    found = run_script(str(path), root)
    assert (found.returncode, found.stdout) == (0, f"{TEN[4]} is one of the 10 contents of the release\n")
    path.write_text(json.dumps(NON_INCLUSION))
    found = run_script(str(path), root)
    assert (found.returncode, found.stdout) == (0, f"{ABSENT} is none of the 10 contents of the release\n")


def test_the_script_fails_on_what_it_cannot_check(tmp_path: Path) -> None:
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(INCLUSION))
    for arguments in ([str(path), merkle_root(TEN[:9])], [str(tmp_path / "none"), "0"], [str(path)], []):
        found = run_script(*arguments)
        assert (found.returncode, found.stdout) == (1, "")
        assert "shows nothing" in found.stderr or "usage" in found.stderr
        assert "Traceback" not in found.stderr
