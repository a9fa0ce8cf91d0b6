"""Citing: from a text to the files that its verbatim spans come from.

In: an index folder, the dataset it was made of, and texts. Out: for each text its maximal spans of at least `least_span`
normalised characters that stand in the dataset, with verified origins. Every such span lies in a reported match or is
covered by several, every reported origin holds its span, and offsets are in characters of the texts as they were given.

    index = Index.open(Path("runs/tiny/index"))
    for match in index.cite(text).matches:
        print(text[match.start:match.end], match.origins[0].path)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from stackwright.artifact import Artifact, load_artifact
from stackwright.attribute.bits import Int64s, Uint64s
from stackwright.attribute.fingerprint import Scheme
from stackwright.attribute.intervals import Span, thin
from stackwright.attribute.normalize import Location, NormalizedText, normalize
from stackwright.attribute.postings import Shard, ShardRecord, Widths, shard_of
from stackwright.attribute.search import Search, Tokens
from stackwright.attribute.stage import COMMON_FILE, INDEX_FILE, VERSION, among
from stackwright.attribute.texts import CACHED_ROWS, StoredRows, StoredTexts, read_texts
from stackwright.cache import RecentlyUsed
from stackwright.errors import ArtifactError

if TYPE_CHECKING:
    from stackwright.attribute.loaded import Agreements, LoadedTexts

LISTED_ORIGINS = 20
VERIFIED_ORIGINS = 100
"""Origins of one match that are named, and that are looked for; beyond, their number is a lower bound."""

VERIFIED_IN_ALL = 5_000
"""Documents read for one text to count origins; matches after that name the origin they were found in."""

LOADED_BYTES = 256_000_000
"""Of normalised texts that `load` takes into memory, with a third as much for the table of their places."""

MANY_MATCHES = 1_000
"""More maximal spans than this are thinned to few that cover the same characters, with one origin each."""

COUNTED_TOKENS = 16
"""Fingerprints of a span that its candidates must all have; each candidate is verified anyway."""

_COLUMNS = ("repo", "revision", "path", "content_id", "detected_licenses", "split")


@dataclass(frozen=True)
class Origin:
    """A place in the dataset. Lines count from 1, both inclusive; `start` and `end` are characters of the stored text."""

    repo: str
    revision: str
    path: str
    start_line: int
    end_line: int
    start: int
    end: int
    content_id: str
    license: str | None
    split: str | None


@dataclass(frozen=True)
class Match:
    """A span of the text, in characters, and where it comes from.

    `num_origins` counts the files that hold it and were verified; some of them are listed.
    """

    start: int
    end: int
    kind: Literal["verbatim", "boilerplate"]
    origins: tuple[Origin, ...]
    num_origins: int
    num_origins_is_lower_bound: bool

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "origins": [dict(vars(origin)) for origin in self.origins]}


@dataclass(frozen=True)
class Citation:
    """What was found in a text.

    `is_complete` is false when the text was so repetitive or large that the search was stopped; what is listed is true
    all the same. A text of less than `least_span` normalised characters has no matches.
    """

    matches: tuple[Match, ...]
    num_characters: int  # of the text, normalised
    least_span: int
    is_complete: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "matches": [match.to_json() for match in self.matches],
            "num_characters": self.num_characters,
            "least_span": self.least_span,
            "is_complete": self.is_complete,
        }


class Index:
    """An index, open for citing. `open` makes one."""

    def __init__(self, artifact: Artifact, dataset: Artifact, facts: Mapping[str, Any]) -> None:
        self.folder, self.scheme = artifact.folder, Scheme(facts["least_span"], facts["gram_bytes"])
        self._facts = facts
        self._widths = Widths(facts["document_bits"], facts["bucket_bits"], facts["low_bits"])
        self._shards = [Shard(artifact.folder, ShardRecord.from_json(record), self._widths) for record in facts["shards"]]
        self._dataset, self._normalized_bytes = dataset, artifact.manifest.counts["normalized_bytes"]
        self._loaded: LoadedTexts | None = None
        self._common = np.fromfile(artifact.folder / COMMON_FILE, "<u8")
        self._texts = StoredTexts(dataset.table("documents"), facts["first_documents"])
        rows = StoredRows(artifact.table("documents"), facts["first_documents"], _COLUMNS, 64 * 1024 * 1024)
        self._rows = RecentlyUsed[int, dict[str, Any]](rows.row, lambda _: 1, CACHED_ROWS)

    @staticmethod
    def open(folder: Path, dataset_folder: Path | None = None) -> Index:
        """Open an index folder; the dataset is looked for beside it unless it is named.

        Raises:
            ArtifactError: either folder is missing or changed, of another version, or they do not belong together.
        """
        artifact = load_artifact(folder)
        remake = f"remove {folder} and run `stackwright build` again to remake it"
        if not (folder / INDEX_FILE).is_file():
            raise ArtifactError(f"{folder} is not an index: it has no {INDEX_FILE}", "name the folder index of a run")
        facts = json.loads((folder / INDEX_FILE).read_text("utf-8"))
        if facts.get("version") != VERSION:
            raise ArtifactError(f"{folder} has version {facts.get('version')!r}, this one reads version {VERSION}", remake)
        dataset = load_artifact(folder.parent / "dataset" if dataset_folder is None else dataset_folder)
        if facts["dataset"] != dataset.digest:
            raise ArtifactError(
                f"{folder} was made of the dataset {facts['dataset'][:12]}, {dataset.folder} is {dataset.digest[:12]}",
                "name the dataset it was made of, or run `stackwright build` again to remake the index",
            )
        return Index(artifact, dataset, facts)

    def is_common(self, hashes: Uint64s) -> npt.NDArray[np.bool_]:
        """Return which hashes of k-grams are those of common ones (see stage.py)."""
        common: npt.NDArray[np.bool_] = among(hashes >> np.uint64(self._widths.document_bits), self._common)
        return common

    def load(self, most_bytes: int = LOADED_BYTES) -> None:
        """Take the texts into memory where they have room, for who cites much: the same is found, many times quicker.

        Raises:
            ModuleNotFoundError: numba is not installed.
        """
        if self._normalized_bytes <= most_bytes:
            from stackwright.attribute.loaded import LoadedTexts

            self._loaded = LoadedTexts(read_texts(self._dataset.table("documents")), self.scheme)
            for document in range(min(self._facts["first_documents"][-1], CACHED_ROWS)):
                self._rows.get(document)

    @property
    def is_loaded(self) -> bool:
        """Whether the texts are in memory."""
        return self._loaded is not None

    def look_up(self, hashes: Uint64s) -> tuple[Int64s, Int64s]:
        """Return places in `hashes` and documents that may hold them, sorted by place; every one that does is there."""
        shards = shard_of(hashes, len(self._shards))
        asked, documents = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for number, shard in enumerate(self._shards):
            own = np.flatnonzero(shards == number)
            if len(own):
                places, found = shard.look_up(hashes[own])
                asked.append(own[places])
                documents.append(found)
        all_asked = np.concatenate(asked)
        order = np.argsort(all_asked, kind="stable")
        return all_asked[order], np.concatenate(documents)[order]

    def text(self, document: int) -> NormalizedText:
        """Return a stored text by its document's number."""
        return self._texts.get(document)

    def cite(self, text: str, since: int = 0) -> Citation:
        """Return the spans of `text` that stand in the dataset, and where.

        Args:
            since: character; spans that end before it are not sought.
        """
        query = NormalizedText(text)
        first = len(normalize(text[:since]).encode("utf-8", "surrogatepass"))
        if self._loaded is not None:
            agreements = self._loaded.agreements(query.data, first)
            if agreements is not None:
                matches = self._matches(query, agreements)
                return Citation(tuple(matches), query.num_characters, self.scheme.least_span, True)
        search = Search(query, self, first)
        spans = search.run()
        if len(spans) > MANY_MATCHES:
            matches = [self._match(query, span, [(span.document, span.offset)], True) for span in thin(spans)]
        else:
            matches = self._count_origins(query, spans, search.tokens)
        return Citation(tuple(matches), query.num_characters, self.scheme.least_span, search.is_complete)

    def _matches(self, query: NormalizedText, agreements: Agreements) -> list[Match]:
        spans, matches = agreements.maximal(), []
        is_thinned = len(spans) > MANY_MATCHES
        most = 1 if is_thinned else VERIFIED_ORIGINS
        for span in thin(spans) if is_thinned else spans:
            holders = agreements.holders(span, most + 1)
            matches.append(self._match(query, span, holders[:most], len(holders) > most))
        return matches

    def _count_origins(self, query: NormalizedText, spans: Sequence[Span], tokens: Tokens) -> list[Match]:
        chosen = [_counted_tokens(query, tokens, span, self.scheme.least_span) for span in spans]
        matches, left = [], VERIFIED_IN_ALL
        holders = self._holders([tokens.hashes[places] for places in chosen])
        for span, places, (candidates, longest) in zip(spans, chosen, holders, strict=True):
            others = candidates[candidates != span.document]
            tried = _spread(others, min(VERIFIED_ORIGINS - 1, left))
            left -= len(tried)
            wanted = query.data[span.start : span.end]
            places_in = ((other, self.text(other).data.find(wanted)) for other in tried.tolist())
            true = [(span.document, span.offset), *(place for place in places_in if place[1] >= 0)]
            lists_are_cut = bool(tokens.common[places].all()) and longest >= self._facts["listed_documents"]
            matches.append(self._match(query, span, true, lists_are_cut or len(tried) < len(others)))
        return matches

    def _holders(self, wanted: Sequence[Uint64s]) -> list[tuple[Int64s, int]]:
        """Return for each set of hashes the documents listed for all of them, and the length of the longest list."""
        if not wanted:
            return []
        asked, documents = self.look_up(np.concatenate(wanted))
        borders = np.cumsum([0, *(len(hashes) for hashes in wanted)])
        cuts = np.searchsorted(asked, borders)
        results = []
        for low, high, hashes in zip(cuts[:-1], cuts[1:], wanted, strict=True):
            numbers, counts = np.unique(documents[low:high], return_counts=True)
            longest = int(np.bincount(asked[low:high] - asked[low]).max()) if high > low else 0
            results.append((numbers[counts == len(hashes)], longest))
        return results

    def _match(self, query: NormalizedText, span: Span, holders: Sequence[tuple[int, int]], is_lower_bound: bool) -> Match:
        """Return the match of a span that stands in `holders`: documents, and the byte of each at which it begins."""
        start, end = query.original_span(span.start, span.end)
        kind: Literal["verbatim", "boilerplate"] = "boilerplate" if self._is_boilerplate(holders) else "verbatim"
        listed = sorted(holders[:LISTED_ORIGINS])
        locations = self._locate(listed, span.end - span.start)
        origins = (self._origin(document, location) for (document, _), location in zip(listed, locations, strict=True))
        return Match(start, end, kind, tuple(origins), len(holders), is_lower_bound)

    def _is_boilerplate(self, holders: Sequence[tuple[int, int]]) -> bool:
        repos, enough = set[str](), self._facts["boilerplate_repos"]
        for document, _ in holders:
            repos.add(self._rows.get(document)["repo"])
            if len(repos) >= enough:
                return True
        return False

    def _locate(self, holders: Sequence[tuple[int, int]], length: int) -> list[Location]:
        if self._loaded is not None:
            return self._loaded.locate(holders, length)
        return [self.text(document).locate(offset, offset + length) for document, offset in holders]

    def _origin(self, document: int, location: Location) -> Origin:
        row = self._rows.get(document)
        licenses = row["detected_licenses"]
        return Origin(
            repo=row["repo"],
            revision=row["revision"],
            path=row["path"],
            start_line=location.start_line,
            end_line=location.end_line,
            start=location.start,
            end=location.end,
            content_id=row["content_id"],
            license=", ".join(licenses) if licenses else None,
            split=row["split"],
        )


def _counted_tokens(query: NormalizedText, tokens: Tokens, span: Span, least_span: int) -> Int64s:
    """Return tokens that every document with the span has: those of complete lists where there are any."""
    last = query.byte_of(query.character_of(span.end) - least_span)
    chosen = tokens.of_windows(span.start, last)
    places = np.arange(chosen.start, chosen.stop)
    complete = places[~tokens.common[chosen]]
    places = complete if len(complete) else places
    _, first = np.unique(tokens.hashes[places], return_index=True)
    places = places[np.sort(first)]
    return _spread(places, COUNTED_TOKENS)


def _spread(values: Int64s, count: int) -> Int64s:
    """Return `count` of the values, or all when there are fewer, evenly spaced."""
    chosen: Int64s = values[np.linspace(0, len(values) - 1, min(len(values), count)).astype(np.int64)]
    return chosen
