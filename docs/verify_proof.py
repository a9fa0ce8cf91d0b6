"""Check a proof that a content is, or is not, in a release: `python verify_proof.py PROOF.json ROOT`.

Needs nothing but Python. Take ROOT from the release, and compare the id that is printed with what `git hash-object FILE`
says of your file. The rules are those of governance.md, under Proofs.
"""

from __future__ import annotations

import json
import re
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any


def require(condition: bool, why: str) -> None:
    if not condition:
        raise ValueError(why)


def root_of(size: int, tree: bytes) -> str:
    return sha256(b"\2" + size.to_bytes(8, "big") + tree).hexdigest()


def check_leaf(leaf: dict[str, Any], size: int, root: str) -> None:
    """Hash the way from a leaf up to the root. At each level neighbours are paired; an odd last one goes up as it is."""
    require(re.fullmatch("[0-9a-f]{40}", leaf["id"]) is not None, f"{leaf['id']} is not a content id")
    place, width, path = leaf["index"], size, list(leaf["path"])
    require(type(place) is int and 0 <= place < size, f"place {place} is not one of {size}")
    node = sha256(b"\0" + bytes.fromhex(leaf["id"])).digest()
    while width > 1:
        if place ^ 1 < width:
            require(bool(path), "the path is too short")
            beside = bytes.fromhex(path.pop(0))
            node = sha256(b"\1" + (beside + node if place & 1 else node + beside)).digest()
        place, width = place // 2, (width + 1) // 2
    require(not path, "the path is too long")
    require(root_of(size, node) == root, "the path does not lead to the root")


def check_proof(proof: dict[str, Any], root: str) -> str:
    """Return what a proof shows against a root; raises `ValueError`, `KeyError` or `TypeError` when it shows nothing."""
    content_id, size = proof["id"], proof["size"]
    require(proof["format"] == 1, f"format {proof['format']} is unknown")
    require(re.fullmatch("[0-9a-f]{40}", content_id) is not None, f"{content_id} is not a content id")
    require(type(size) is int and 0 <= size < 2**64, f"{size} is not a number of leaves")
    if proof["kind"] == "inclusion":
        check_leaf(proof, size, root)
        return f"{content_id} is one of the {size} contents of the release"
    require(proof["kind"] == "non_inclusion", f"{proof['kind']} is not a kind of proof")
    left, right = proof["left"], proof["right"]
    require(left is None or left["id"] < content_id, "the left neighbour is not below the id")
    require(right is None or content_id < right["id"], "the right neighbour is not above the id")
    before, after = -1 if left is None else left["index"], size if right is None else right["index"]
    require(after == before + 1, "the neighbours are not side by side")
    require(size > 0 or root == root_of(0, sha256().digest()), "the root is not that of no contents")
    for leaf in (left, right):
        if leaf is not None:
            check_leaf(leaf, size, root)
    return f"{content_id} is none of the {size} contents of the release"


if __name__ == "__main__":
    try:
        print(check_proof(json.loads(Path(sys.argv[1]).read_bytes()), sys.argv[2]))
    except IndexError:
        sys.exit("usage: python verify_proof.py PROOF.json ROOT")
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"the proof shows nothing: {error!r}")
