"""`stackwright measure`: the texts of a labelled set, and what a detector makes of them.

In: the name of a detector, a part of its set, a cache folder. Out: a `Report` with the scores, the texts that could not be
had, and the speed. Only the speed differs between two runs on the same texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stackwright.curate.near_dedup.presets import PRESETS
from stackwright.errors import DataError
from stackwright.govern.licenses.recognize import recognize
from stackwright.log import Progress, cpu_seconds
from stackwright.measure.clients import fetch_archive
from stackwright.measure.fetch import FetchArchive, Fetched, Missing, cache_folder, fetch_members
from stackwright.measure.licenses import LicenseScores, measure_licenses
from stackwright.measure.near_dup import NearDupScores, measure_near_dup
from stackwright.measure.records import Member, Part, load_license_records, load_pair_records
from stackwright.recipe import CurateSettings

Detector = Literal["licenses", "near-dup"]


@dataclass(frozen=True)
class Report:
    """What was measured. `texts_per_second` is per second of one core and only for information."""

    detector: Detector
    part: Part
    scores: LicenseScores | NearDupScores
    missing: tuple[Missing, ...]
    texts_per_second: float

    def to_json(self) -> dict[str, Any]:
        return {
            "detector": self.detector,
            "part": self.part,
            **self.scores.to_json(),
            "missing": [missing.to_json() for missing in self.missing],
            "texts_per_second": round(self.texts_per_second, 1),
        }


def run_measure(
    detector: Detector,
    *,
    part: Part = "all",
    data: Path | None = None,
    progress: Progress | None = None,
    fetch: FetchArchive = fetch_archive,
) -> Report:
    """Measure one detector on one part of its labelled set.

    Args:
        data: folder that keeps the texts; None stands for the user's cache.
        fetch: how an archive is got.

    Raises:
        DataError: not one text could be had.
        SourceError: a text is not the one that was labelled.
    """
    cache = data or cache_folder()
    if detector == "licenses":
        licenses = load_license_records(part)
        fetched = _fetch([record.member for record in licenses], cache, progress, fetch)
        recognize("Licensed under the MIT License.")  # reads the fingerprints, which every run does once
        began = cpu_seconds()
        scores: LicenseScores | NearDupScores = measure_licenses(licenses, fetched.texts, progress)
    else:
        pairs = load_pair_records(part)
        fetched = _fetch([member for pair in pairs for member in pair.members], cache, progress, fetch)
        preset = PRESETS[CurateSettings().near_dedup]
        began = cpu_seconds()
        scores = measure_near_dup(pairs, fetched.texts, preset, progress)
    seconds = max(cpu_seconds() - began, 1e-9)
    return Report(detector, part, scores, fetched.missing, len(fetched.texts) / seconds)


def _fetch(members: Sequence[Member], cache: Path, progress: Progress | None, fetch: FetchArchive) -> Fetched:
    fetched = fetch_members(members, cache, progress=progress, fetch=fetch)
    if not fetched.texts:
        why = fetched.missing[0].why if fetched.missing else "the set has no records"
        raise DataError(
            f"none of the {len(members)} labelled texts could be had ({why})",
            "make the package index reachable for pip and npm, or give the folder of an earlier measure with --data",
        )
    return fetched
