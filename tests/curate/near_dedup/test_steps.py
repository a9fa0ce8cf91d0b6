"""Near deduplication of planted copies, on the engine: what is dropped is like what is kept, whatever the workers."""

from __future__ import annotations

import datetime
import itertools
import random
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stackwright.curate.near_dedup import steps
from stackwright.curate.near_dedup.presets import PRESETS, Preset
from stackwright.curate.near_dedup.shingles import jaccard, shingle_texts
from stackwright.curate.near_dedup.steps import NearDedup, iter_edges, run_near_dedup
from stackwright.document import git_blob_id
from stackwright.engine import Engine
from stackwright.errors import EngineError

NUM_SHARDS = 3


def documents_of(shard: int, *, documents: list[dict[str, Any]]) -> Iterator[Mapping[str, Any]]:
    yield from documents[shard::NUM_SHARDS]


def document(repo: str, path: str, content: str, **more: Any) -> dict[str, Any]:
    defaults = {"revision": "1", "license_type": "permissive", "stars": None, "forks": None, "revision_date": None}
    identity = {"content_id": git_blob_id(content.encode()), "repo": repo, "path": path, "language": "Python"}
    return {**defaults, **identity, "content": content, **more}


def family(rng: random.Random, number: int) -> list[dict[str, Any]]:
    """Return a text and copies of it with more and more of its words replaced."""
    words = [f"w{rng.randrange(10**6)}" for _ in range(rng.randrange(60, 300))]
    copies = []
    for copy in range(5):
        text = list(words)
        for _ in range(rng.randrange(0, len(words) // 24)):
            text[rng.randrange(len(text))] = f"edit{rng.randrange(10**6)}"
        copies.append(document(f"repo{copy}", f"family{number:03d}.py", " ".join(text)))
    return copies


def world(families: int = 40) -> list[dict[str, Any]]:
    rng = random.Random(7)
    documents = [entry for number in range(families) for entry in family(rng, number)]
    documents += [document("short", f"{number}.py", "a b c") for number in range(5)]
    return sorted(documents, key=lambda entry: (entry["repo"], entry["revision"], entry["path"]))


def job_of(documents: list[dict[str, Any]], scratch: Path, preset: Preset, num_partitions: int = 4) -> NearDedup:
    return NearDedup(preset, NUM_SHARDS, num_partitions, partial(documents_of, documents=documents), scratch)


def run(
    documents: list[dict[str, Any]], scratch: Path, name: str = "verified-0.7", workers: int = 1
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    job = job_of(documents, scratch, PRESETS[name])
    counts = run_near_dedup(Engine(workers), job)
    return counts, [edge for shard in range(NUM_SHARDS) for edge in iter_edges(job, shard)]


def exact_jaccards(documents: list[dict[str, Any]], name: str) -> dict[frozenset[tuple[str, str]], float]:
    sets = shingle_texts([entry["content"] for entry in documents], PRESETS[name].shingles)
    names = [(entry["repo"], entry["path"]) for entry in documents]
    return {
        frozenset((names[a], names[b])): jaccard(sets.of(a), sets.of(b))
        for a, b in itertools.combinations(range(len(documents)), 2)
        if names[a][1] == names[b][1]
    }


def pair_of(edge: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    return frozenset(((edge["repo"], edge["path"]), (edge["other_repo"], edge["other_path"])))


def test_edges_are_verified_and_nearly_all_are_found(tmp_path: Path) -> None:
    documents = world()
    counts, edges = run(documents, tmp_path)
    truth = {pair: value for pair, value in exact_jaccards(documents, "verified-0.7").items() if value >= 0.7}
    found = {pair_of(edge): edge["similarity"] for edge in edges}
    assert found == {pair: pytest.approx(truth[pair]) for pair in found}
    assert len(found) >= 0.95 * len(truth) > 100
    assert counts["edges"] == len(edges)
    assert counts["too_short"] == 5


def test_each_dropped_document_is_near_a_kept_one(tmp_path: Path) -> None:
    counts, edges = run(world(), tmp_path)
    decisive = [edge for edge in edges if edge["decisive"]]
    dropped = {(edge["repo"], edge["path"]) for edge in decisive}
    assert len(dropped) == len(decisive) == counts["dropped"] > 50
    assert all((edge["other_repo"], edge["other_path"]) not in dropped for edge in decisive)
    assert all(edge["similarity"] >= 0.7 for edge in decisive)
    # Complete: no two kept documents have an edge.
    assert all(pair & dropped for pair in map(pair_of, edges))


def test_workers_and_partitions_do_not_show(tmp_path: Path) -> None:
    documents = world(12)
    one, two = run(documents, tmp_path / "one"), run(documents, tmp_path / "two", workers=2)
    assert one == two
    job = job_of(documents, tmp_path / "seven", PRESETS["verified-0.7"], num_partitions=7)
    counts = run_near_dedup(Engine(1), job)
    edges = [edge for shard in range(NUM_SHARDS) for edge in iter_edges(job, shard)]
    assert (counts, edges) == one


def test_the_better_ranked_copy_is_kept(tmp_path: Path) -> None:
    text = " ".join(f"word{number}" for number in range(200))
    documents = [
        document("a", "x.py", text, stars=1),
        document("b", "x.py", f"{text} more", stars=9),
        document("c", "x.py", f"{text} other", license_type="no_license", stars=50),
    ]
    _, edges = run(documents, tmp_path)
    assert {(edge["repo"], edge["other_repo"]) for edge in edges if edge["decisive"]} == {("a", "b"), ("c", "b")}
    assert {(edge["repo"], edge["other_repo"]) for edge in edges if not edge["decisive"]} == {("c", "a")}


def test_the_stack_v2_rule_keeps_the_latest_revision(tmp_path: Path) -> None:
    text = " ".join(f"word{number}" for number in range(200))
    dates = [datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (2019, 2021)]
    documents = [
        document("a", "x.py", text, revision_date=dates[0]),
        document("b", "x.py", f"{text} more", revision_date=dates[1]),
        document("c", "x.py", f"{text} other"),
    ]
    for name, kept in (("stack-v2", "b"), ("verified-0.7", "a")):
        _, edges = run(documents, tmp_path / name, name)
        assert {edge["other_repo"] for edge in edges if edge["decisive"]} == {kept}


def chain() -> list[dict[str, Any]]:
    """Return texts each near the next, of which the ends are far apart."""
    words = [f"word{number}" for number in range(300)]
    return [document("repo", f"{step}.py", " ".join(words[step * 25 : step * 25 + 200])) for step in range(5)]


def test_published_components_drop_what_is_far_from_the_kept_one_and_say_so(tmp_path: Path) -> None:
    _, ours = run(chain(), tmp_path / "ours")
    assert all(edge["similarity"] >= 0.7 for edge in ours)
    counts, edges = run(chain(), tmp_path / "published", "santacoder")
    decisive = {edge["path"]: edge for edge in edges if edge["decisive"]}
    assert set(decisive) == {f"{step}.py" for step in range(1, 5)}
    assert {edge["other_path"] for edge in decisive.values()} == {"0.py"}
    assert decisive["4.py"]["similarity"] < 0.5
    assert (counts["components"], counts["largest_component"]) == (1, 5)


def test_a_rule_by_language_keeps_languages_apart(tmp_path: Path) -> None:
    text = " ".join(f"word{number}" for number in range(200))
    documents = [document("a", "x.py", text), document("b", "x.js", f"{text} more", language="JavaScript")]
    assert run(documents, tmp_path / "v2", "stack-v2")[1] == []
    assert len(run(documents, tmp_path / "ours")[1]) == 1


def test_a_killed_run_goes_on_with_the_steps_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = world(12)
    whole = run(documents, tmp_path / "whole")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(steps, "_compare_range", fail)
        with pytest.raises(RuntimeError, match="killed"):
            run(documents, tmp_path / "broken")
    with monkeypatch.context() as patch:
        patch.setattr(steps, "_sign_shard", fail)  # signed already: not called again
        assert run(documents, tmp_path / "broken") == whole


def test_partitions_too_large_for_a_worker_name_the_number_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "WORKER_BYTES", 100_000)
    with pytest.raises(EngineError, match=r"4 partitions of \d+ bucket rows do not fit.*set curate.num_partitions to 7 or"):
        run(world(), tmp_path)


def test_nothing_left_gives_nothing(tmp_path: Path) -> None:
    counts, edges = run([], tmp_path)
    assert (counts["documents"], counts["dropped"], edges) == (0, 0, [])
    alike = [document("r", f"{number}.py", "word " * 50) for number in range(5)]
    assert run(alike, tmp_path / "alike")[0]["dropped"] == 4
