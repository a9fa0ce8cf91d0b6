"""Proofs to an author that a content is in a release, or is not, without showing the rest of its files.

In: the content ids of a release (git blob SHA-1, 40 hexadecimal digits). Out: the root of a Merkle tree over them, and
proofs against that root. The leaves are the distinct ids in ascending order, so that two leaves that stand side by side
show that no id between them is there. The tree has the shape of RFC 6962: of n leaves the left part gets the largest
power of two below n, which is the same as pairing neighbours level by level and passing an odd one up.

    leaf  SHA-256(00, id in 20 bytes)        node  SHA-256(01, left, right)        no leaves  SHA-256 of nothing
    root  SHA-256(02, number of leaves in 8 bytes, tree): the number is bound, so that the last leaf can be shown to be it

A root is only as good as the list behind it: a proof of absence trusts that the list was sorted, which whoever holds the
dataset can check by making the root again. `docs/verify_proof.py` checks the same rules without this package.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from stackwright.errors import ProofError

if TYPE_CHECKING:
    from stackwright.artifact import Artifact

FORMAT = 1

ProofKind = Literal["inclusion", "non_inclusion"]

_CONTENT_ID = re.compile(r"[0-9a-f]{40}")
_HASH = re.compile(r"[0-9a-f]{64}")
_FROM_PROVER = "take the proof from `stackwright explain RUN TARGET --proof`, unchanged"


@dataclass(frozen=True)
class Leaf:
    """A leaf of the tree: its id, its place among the sorted ids, and the hashes beside its way up, the lowest first."""

    id: str
    index: int
    path: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "index": self.index, "path": list(self.path)}


@dataclass(frozen=True)
class Proof:
    """That `id` is among `size` ids with this root (`left` is its leaf), or that it would stand between the two leaves.

    At an end of the list, and in an empty one, there is no leaf on that side.
    """

    kind: ProofKind
    id: str
    root: str
    size: int
    left: Leaf | None = None
    right: Leaf | None = None

    def to_json(self) -> dict[str, Any]:
        value = {"format": FORMAT, "kind": self.kind, "id": self.id, "root": self.root, "size": self.size}
        if self.kind == "inclusion":
            assert self.left is not None
            return value | {"index": self.left.index, "path": list(self.left.path)}
        return value | {"left": self.left and self.left.to_json(), "right": self.right and self.right.to_json()}

    @staticmethod
    def from_json(value: object) -> Proof:
        """Read a proof. Raises `ProofError` for anything of another form."""
        if not isinstance(value, dict) or value.get("format") != FORMAT or value["format"] is True:
            found = value.get("format") if isinstance(value, dict) else value
            _refuse(f"a proof has format {FORMAT}, this has {found!r}")
        kind = value.get("kind")
        fields = {"format", "kind", "id", "root", "size"}
        if kind == "inclusion":
            _check_keys(value, fields | {"index", "path"})
            left, right = _read_leaf({"id": value["id"], "index": value["index"], "path": value["path"]}), None
        elif kind == "non_inclusion":
            _check_keys(value, fields | {"left", "right"})
            left, right = _read_leaf(value["left"]), _read_leaf(value["right"])
        else:
            _refuse(f"a proof is of inclusion or non_inclusion, this is of {kind!r}")
        _check_text(value["id"], _CONTENT_ID, "id")
        _check_text(value["root"], _HASH, "root")
        _check_number(value["size"], "size")
        return Proof(kind, value["id"], value["root"], value["size"], left, right)


@dataclass(frozen=True)
class MerkleTree:
    """The tree over a list of content ids; from one tree any number of proofs can be made."""

    ids: tuple[str, ...]  # distinct and sorted
    levels: tuple[tuple[bytes, ...], ...]  # hashes from the leaves up; the last level has one, or none

    @staticmethod
    def build(ids: Iterable[str]) -> MerkleTree:
        """Build the tree, in time linear in the ids but for sorting them. Raises `ProofError` for what is no content id."""
        leaves = tuple(sorted(set(ids)))
        for content_id in leaves:
            _check_text(content_id, _CONTENT_ID, "content id")
        level = tuple(sha256(b"\0" + bytes.fromhex(content_id)).digest() for content_id in leaves)
        levels = [level]
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=False)
            odd = level[-1:] if len(level) % 2 else ()
            level = (*(sha256(b"\1" + left + right).digest() for left, right in pairs), *odd)
            levels.append(level)
        return MerkleTree(leaves, tuple(levels))

    @property
    def root(self) -> str:
        top = self.levels[-1]
        return _root(len(self.ids), top[0] if top else sha256().digest())

    def prove(self, content_id: str) -> Proof:
        """Return a proof that an id is in the tree, or that it is not. Raises `ProofError` for what is no content id."""
        _check_text(content_id, _CONTENT_ID, "content id")
        place, size = bisect.bisect_left(self.ids, content_id), len(self.ids)
        if place < size and self.ids[place] == content_id:
            return Proof("inclusion", content_id, self.root, size, self._leaf(place))
        return Proof("non_inclusion", content_id, self.root, size, self._leaf(place - 1), self._leaf(place))

    def _leaf(self, index: int) -> Leaf | None:
        if not 0 <= index < len(self.ids):
            return None
        path, place = [], index
        for level in self.levels[:-1]:
            if place ^ 1 < len(level):  # else it is the odd one, which goes up as it is
                path.append(level[place ^ 1].hex())
            place >>= 1
        return Leaf(self.ids[index], index, tuple(path))


def contents_tree(dataset: Artifact) -> MerkleTree:
    """Return the tree over the contents of a dataset: what receipts, releases and proofs are about."""
    return MerkleTree.build(dataset.table("documents").read(["content_id"]).column(0).to_pylist())


def merkle_root(ids: Iterable[str]) -> str:
    """Return the root over the distinct ids, 64 hexadecimal digits; their order does not matter."""
    return MerkleTree.build(ids).root


def prove(ids: Iterable[str], content_id: str) -> Proof:
    """Return a proof that an id is among others, or is not. For several proofs build a `MerkleTree` once."""
    return MerkleTree.build(ids).prove(content_id)


def verify(proof: Proof, content_id: str, root: str) -> None:
    """Check that a proof shows, of this id and against this root, what its kind says.

    The root must come from somebody who is trusted to name the release's, not from the proof.

    Raises:
        ProofError: it does not; the message says why.
    """
    if proof.id != content_id:
        _refuse(f"the proof is about {proof.id}, not about {content_id}")
    if proof.root != root:
        _refuse(f"the proof is against the root {proof.root}, not against {root}")
    if proof.kind == "inclusion":
        if proof.left is None or proof.left.id != content_id:
            _refuse("the proof does not say where the id stands")
        _verify_leaf(proof.left, proof.size, root)
        return
    left, right, size = proof.left, proof.right, proof.size
    if left is not None and not left.id < content_id:
        _refuse(f"the left neighbour {left.id} is not below the id")
    if right is not None and not content_id < right.id:
        _refuse(f"the right neighbour {right.id} is not above the id")
    before, after = -1 if left is None else left.index, size if right is None else right.index
    if after != before + 1:
        _refuse(f"the places {before} and {after} of {size} are not side by side")
    if left is None and right is None and root != _root(0, sha256().digest()):
        _refuse("the proof names no neighbour, and the root is not that of no ids")
    for leaf in (left, right):
        if leaf is not None:
            _verify_leaf(leaf, size, root)


def _root(size: int, tree: bytes) -> str:
    return sha256(b"\2" + size.to_bytes(8, "big") + tree).hexdigest()


def _verify_leaf(leaf: Leaf, size: int, root: str) -> None:
    """Go up from a leaf; place and size alone say on which side of the way each hash of the path stands."""
    if not 0 <= leaf.index < size < 2**64:
        _refuse(f"place {leaf.index} is not one of {size}")
    node, place, width, path = sha256(b"\0" + bytes.fromhex(leaf.id)).digest(), leaf.index, size, list(leaf.path)
    while width > 1:
        if place ^ 1 < width:
            if not path:
                _refuse(f"the path of {leaf.id} is too short for {size} leaves")
            beside = bytes.fromhex(path.pop(0))
            node = sha256(b"\1" + (beside + node if place & 1 else node + beside)).digest()
        place, width = place >> 1, (width + 1) >> 1
    if path:
        _refuse(f"the path of {leaf.id} is too long for {size} leaves")
    if _root(size, node) != root:
        _refuse(f"the path of {leaf.id} does not lead to the root {root}")


def _read_leaf(value: object) -> Leaf | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        _refuse(f"a leaf is an object, this is {value!r}")
    _check_keys(value, {"id", "index", "path"})
    _check_text(value["id"], _CONTENT_ID, "id")
    _check_number(value["index"], "index")
    if not isinstance(value["path"], list):
        _refuse(f"a path is a list, this is {value['path']!r}")
    for step in value["path"]:
        _check_text(step, _HASH, "hash")
    return Leaf(value["id"], value["index"], tuple(value["path"]))


def _check_keys(value: Mapping[str, Any], keys: set[str]) -> None:
    if wrong := sorted(keys ^ value.keys()):
        _refuse(f"the proof {'lacks' if wrong[0] in keys else 'has an unknown key'} {wrong[0]!r}")


def _check_text(value: object, form: re.Pattern[str], name: str) -> None:
    if not isinstance(value, str) or form.fullmatch(value) is None:
        _refuse(f"{value!r} is not {'an' if name == 'id' else 'a'} {name}: {form.pattern}")


def _check_number(value: object, name: str) -> None:
    if type(value) is not int or not 0 <= value < 2**64:
        _refuse(f"{name} {value!r} is not a number of ids")


def _refuse(why: str) -> NoReturn:
    raise ProofError(why, _FROM_PROVER)
