"""May a file be used: its licence and its author's consent, from the corpus's own evidence.

In: the corpus tables `notices` (licence and consent files) and `repositories` (what each declares). Out: for each document
a `Permission`, under one policy and for comparison under all of them. The evidence of a repository may lie in several
parts of the table, next to one another, because parts are in document order; it is read once per process and repository.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow.parquet as pq

from stackwright.artifact import Table
from stackwright.cache import RecentlyUsed
from stackwright.document import Fired
from stackwright.files import digest_of
from stackwright.govern.consent import Consent, ConsentSignals, Policy, Signal, decide, read_signals
from stackwright.govern.licenses import POLICIES, LicenseVerdict, RepositoryLicenses, forbids_training, governed_folder
from stackwright.govern.licenses import Policy as LicensePolicy
from stackwright.govern.licenses.headers import header_evidence
from stackwright.sources.notices import is_license_name

LICENSE_RULE, CONSENT_RULE = "license", "consent"
LICENSE_VERSION, CONSENT_VERSION = 2, 1

CACHED_REPOSITORIES = 32

RepositoryName = tuple[str, str]
"""Repository and revision."""


@dataclass(frozen=True)
class Permission:
    """What the evidence says of one file."""

    license: LicenseVerdict
    consent: Consent
    admitted_by: frozenset[LicensePolicy]  # the policies that would admit it, with the consent rule of the recipe


@dataclass(frozen=True)
class Rules:
    """Which licences and what consent a recipe asks for."""

    policy: LicensePolicy
    license_types: tuple[str, ...]
    consent: Policy

    def fired(self, permission: Permission) -> list[Fired]:
        """Return what the rules say of a file: nothing where it may be used."""
        found = []
        verdict, consent = permission.license, permission.consent
        if not decide(consent, self.consent):
            reason = "training_refused" if consent.allowed is False else "no_consent_given"
            found.append(Fired(CONSENT_RULE, CONSENT_VERSION, reason, matched=consent.evidence))
        if verdict.license_type not in self.license_types:
            reason = "license_missing" if verdict.license_type == "no_license" else "license_not_permissive"
            found.append(Fired(LICENSE_RULE, LICENSE_VERSION, reason, matched=verdict.evidence))
        return found


@dataclass(frozen=True)
class RepositoryEvidence:
    """What one repository says of its licences and about training."""

    licenses: RepositoryLicenses
    signals: ConsentSignals

    def permission(self, document: Mapping[str, Any], rules: Rules) -> Permission:
        """Return what may be done with a document of the repository."""
        consent = self.signals.verdict(document["path"])
        header = header_evidence(document["content"], document["language"])
        verdicts = {
            policy: self.licenses.judge(document["path"], document["is_vendor"], header, policy, consent.allowed is True)
            for policy in POLICIES
        }
        willing = decide(consent, rules.consent)
        admitted = (name for name, verdict in verdicts.items() if willing and verdict.license_type in rules.license_types)
        return Permission(verdicts[rules.policy], consent, frozenset(admitted))


@dataclass(frozen=True)
class CorpusEvidence:
    """The evidence of a corpus, by repository; pickles, and reads when it is asked."""

    notices: Table
    repositories: Table

    def __getstate__(self) -> dict[str, Any]:
        return {"notices": self.notices, "repositories": self.repositories}  # what was read stays in its process

    def of(self, name: RepositoryName) -> RepositoryEvidence:
        """Return the evidence of one repository."""
        return self._evidence.get(name)

    def digest(self, name: RepositoryName) -> str:
        """Return a digest that changes with the evidence of one repository; reads no text."""
        rows = self._notices(name, ["path", "content_id"])
        return digest_of([[[row["path"], row["content_id"]] for row in rows], self._declared[name]])

    @cached_property
    def _evidence(self) -> RecentlyUsed[RepositoryName, RepositoryEvidence]:
        return RecentlyUsed(self._read, lambda _: 1, CACHED_REPOSITORIES)

    @cached_property
    def _declared(self) -> dict[RepositoryName, tuple[str | None, str | None]]:
        rows = self.repositories.read(["repo", "revision", "declared_license", "license_origin"]).to_pylist()
        return {(row["repo"], row["revision"]): (row["declared_license"], row["license_origin"]) for row in rows}

    @cached_property
    def _ranges(self) -> list[tuple[str, str] | None]:
        """First and last repository of each part, from the statistics of the files; None for an empty part."""
        return [_range_of(pq.read_metadata(part)) for part in self.notices.parts]

    def _read(self, name: RepositoryName) -> RepositoryEvidence:
        rows = list(self._notices(name))
        licenses = RepositoryLicenses.build(rows, *self._declared[name])
        signals = [signal for row in rows for signal in _signals(row)]
        return RepositoryEvidence(licenses, ConsentSignals.build(signals))

    def _notices(self, name: RepositoryName, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        chosen = [("repo", "=", name[0]), ("revision", "=", name[1])]
        for part, limits in enumerate(self._ranges):
            if limits is not None and limits[0] <= name[0] <= limits[1]:
                yield from pq.read_table(self.notices.parts[part], columns=columns, filters=chosen).to_pylist()


def _range_of(metadata: pq.FileMetaData) -> tuple[str, str] | None:
    groups = [metadata.row_group(group).column(0).statistics for group in range(metadata.num_row_groups)]
    return (groups[0].min, groups[-1].max) if groups and metadata.num_rows else None


def _signals(row: Mapping[str, Any]) -> Sequence[Signal]:
    """Return what one notice says about training."""
    path, text = row["path"], row["content"]
    refusal = forbids_training(text) if is_license_name(path) else None
    clause = [] if refusal is None else [Signal("license_clause", path, refusal, False, folder=governed_folder(path))]
    return [*read_signals(path, text), *clause]
