"""What governs the files of one repository: its licence files, by folder, and what it declares.

In: the rows of the corpus for a repository: its notices (raw texts of the files whose names say licence) and what it
declares. Out: `RepositoryLicenses`, whose `judge` gives a file its verdict. The evidence that reaches a folder is looked up
once. Pickles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stackwright.govern.licenses.evidence import Evidence, EvidenceKind, governed_folder, is_license_file
from stackwright.govern.licenses.expressions import LicenseVerdict, evaluate, judge, normal_expression
from stackwright.govern.licenses.policies import Policy, judge_document
from stackwright.govern.licenses.recognize import Recognition, recognize, recognize_prose
from stackwright.sources.notices import is_prose_name

_RECIPE = "recipe"


@dataclass(frozen=True)
class RepositoryLicenses:
    """The licences of one repository: what its licence files say, those that reach furthest first, and what it declares."""

    files: tuple[Evidence, ...]
    declared: Evidence | None
    _governing: dict[str, tuple[Evidence, ...]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def build(
        cls,
        notices: Iterable[Mapping[str, Any]],
        declared: str | None,
        origin: str | None,
        recognitions: Mapping[str, Recognition] | None = None,
    ) -> RepositoryLicenses:
        """Bring the evidence of one repository together.

        Args:
            notices: rows with `repo`, `revision`, `path`, `content_id` and `content`; names that say nothing of a licence
                are passed over.
            declared: what its metadata declares, as an expression or an informal name.
            origin: where that stands.
            recognitions: what `recognize` returned, by content id; texts that are not in it are recognised here.
        """
        found: list[Evidence] = []
        repo = revision = ""
        for row in sorted(notices, key=lambda row: str(row["path"])):
            repo, revision = row["repo"], row["revision"]
            if is_license_file(row["path"]):
                evidence = notice_evidence(row, (recognitions or {}).get(row["content_id"]))
                if evidence is not None:
                    found += [replace(evidence, folder=folder) for folder in _folders(row["path"])]
        found = _without_readmes(found)
        found.sort(key=lambda evidence: (len(evidence.folder), evidence.folder))
        return cls(tuple(found), declared_evidence(repo, revision, declared, origin))

    def governing(self, path: str) -> tuple[Evidence, ...]:
        """Return what every licence file says that governs a path (FACTS K 19)."""
        folder = path[: path.rfind("/") + 1]
        if folder not in self._governing:
            self._governing[folder] = tuple(item for item in self.files if folder.startswith(item.folder))
        return self._governing[folder]

    def judge(
        self, path: str, is_vendor: bool, header: Evidence | None, policy: Policy, opted_in: bool = False
    ) -> LicenseVerdict:
        """Return the verdict on a file of the repository."""
        return judge_document(path, is_vendor, header, self.governing(path), self.declared, policy, opted_in)


def _without_readmes(found: list[Evidence]) -> list[Evidence]:
    """Leave out what a readme says where a licence file says it, unless the readme takes something away."""
    licensed = {evidence.folder for evidence in found if not is_prose_name(evidence.path)}
    return [
        evidence
        for evidence in found
        if not is_prose_name(evidence.path) or evidence.folder not in licensed or evidence.license_class == "non_free"
    ]


def _folders(path: str) -> list[str]:
    """Return what a licence file governs. A wheel has `src/pkg/` of its source tree as `pkg/`."""
    folder = governed_folder(path)
    inside_wheel = ".dist-info/licenses/" in path and folder.startswith("src/")
    return [folder, folder.removeprefix("src/")] if inside_wheel and folder != "src/" else [folder]


def notice_evidence(row: Mapping[str, Any], found: Recognition | None = None) -> Evidence | None:
    """Return what a licence file says; None when it says nothing, as a list of authors does."""
    path = str(row["path"])
    if is_prose_name(path):
        found = recognize_prose(row["content"])
    elif found is None:
        found = recognize(row["content"])
    # A notice that only attributes is no licence, whatever words it uses; the parts of it that name one count.
    only_stated = "notice" in path.rpartition("/")[2].lower()
    expression = found.stated if only_stated else found.expression
    if expression is None:
        return None
    license_class = evaluate(expression)[0] if only_stated else found.license_class
    return Evidence(row["repo"], row["revision"], path, "license_file", expression, license_class, found.why)


def declared_evidence(repo: str, revision: str, declared: str | None, origin: str | None) -> Evidence | None:
    """Return a declaration as evidence; None when nothing is declared."""
    verdict = judge(declared)
    if declared is None or verdict.license_type == "no_license":
        return None
    kind: EvidenceKind = "recipe" if origin == _RECIPE else "metadata"
    expression = normal_expression(declared)
    return Evidence(repo, revision, origin or "declared", kind, expression, verdict.license_class, "")
