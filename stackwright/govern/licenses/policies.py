"""Policies: from the evidence on a file to a verdict.

In: what the file's header says, what the licence files of its folders say, and what the repository declares. Out: a
`LicenseVerdict` whose evidence names the deciding statement. Pure functions; what nobody recognised is never permissive.

- `strict-permissive`: whatever governs the file must be permissive. Licence files say which licences there are, the
  declaration how they combine: where it names every licence that the files show, it decides (`MIT OR GPL-2.0-only` beside
  the texts of both is permissive); otherwise all of them hold. Vendored code, and a folder with a licence file of its own,
  are judged by their own header and licence files.
- `stack-v1`: one verdict for the repository, by its declaration, else by the licence files at its root. MPL, LGPL and EPL
  are not permissive, as from v1.1 on (FACTS A1).
- `stack-v2`: The Stack v2 (FACTS A2), with the declaration in the place of GitHub's licence.
- `opt-in`: `strict-permissive`, in repositories that say yes to training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from stackwright.govern.licenses.classes import NOASSERTION, UNKNOWN, LicenseClass, class_of, worst
from stackwright.govern.licenses.evidence import Evidence
from stackwright.govern.licenses.expressions import LicenseVerdict, verdict_of, without_version_range

Policy = Literal["strict-permissive", "stack-v1", "stack-v2", "opt-in"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

AMENDMENTS = frozenset(["LicenseRef-DCO", "LicenseRef-CLA"])
"""Statements that add to a licence without being one: The Stack v2 leaves them out."""


def judge_document(
    path: str,
    is_vendor: bool,
    header: Evidence | None,
    governing: Sequence[Evidence],
    declared: Evidence | None,
    policy: Policy,
    opted_in: bool = False,
) -> LicenseVerdict:
    """Return the verdict on a file.

    Args:
        path: the file's, in its repository.
        is_vendor: the path says that the file is someone else's.
        header: what its opening comments say.
        governing: what each licence file says whose folder the file is in.
        declared: what the metadata of the repository says.
        policy: by which rules.
        opted_in: the repository says yes to training.
    """
    del path  # the folders of `governing` were chosen by it
    match policy:
        case "strict-permissive":
            return _strict(is_vendor, header, governing, declared)
        case "stack-v1":
            return _by_repository(governing, declared)
        case "stack-v2":
            return _by_accumulation(governing, declared)
        case "opt-in":
            if not opted_in:
                return LicenseVerdict("no_license", "none", (), "the repository does not say yes to training")
            return _strict(is_vendor, header, governing, declared)


def _strict(
    is_vendor: bool, header: Evidence | None, governing: Sequence[Evidence], declared: Evidence | None
) -> LicenseVerdict:
    own_folder = max((evidence.folder for evidence in governing), key=len, default="")
    files = [evidence for evidence in governing if evidence.folder == own_folder]
    if own_folder or is_vendor:
        declared = None
    if is_vendor and not own_folder:
        files = []  # the licence at the root is that of those who vendor
    own = [header] if header is not None else []
    if declared is not None and _names_all(declared, files):
        return _all_of([*own, declared])
    return _all_of([*own, *files, *([declared] if declared is not None else [])])


def _names_all(declared: Evidence, files: Sequence[Evidence]) -> bool:
    """Whether a declaration names every licence that the files show."""
    named = {without_version_range(license_id) for license_id in declared.licenses}
    shown = {without_version_range(license_id) for evidence in files for license_id in evidence.licenses}
    return bool(shown) and shown <= named


def _all_of(evidence: Sequence[Evidence]) -> LicenseVerdict:
    """Return the verdict when everything holds: the worst decides, and is named."""
    if not evidence:
        return LicenseVerdict("no_license", "none", (), "nothing says anything of a licence")
    decided = worst([item.license_class for item in evidence])
    deciding = next(item for item in evidence if item.license_class == decided)
    licenses = sorted({license_id for item in evidence for license_id in item.licenses})
    return verdict_of(decided, tuple(licenses), deciding.line)


def _by_repository(governing: Sequence[Evidence], declared: Evidence | None) -> LicenseVerdict:
    if declared is not None and declared.licenses != (NOASSERTION,):
        return _all_of([declared])
    return _all_of([evidence for evidence in governing if evidence.folder == ""])


def _by_accumulation(governing: Sequence[Evidence], declared: Evidence | None) -> LicenseVerdict:
    """Return the verdict by the table of The Stack v2, line by line."""
    asserted = declared is None or declared.licenses != (NOASSERTION,)
    if declared is not None and asserted:
        return _all_of([declared])
    detected = [(license_id, evidence) for evidence in governing for license_id in evidence.licenses]
    if not detected:
        if asserted:
            return _all_of([])
        return LicenseVerdict("non_permissive", "unknown", (NOASSERTION,), "the repository's licence is NOASSERTION")
    kept = [(license_id, evidence) for license_id, evidence in detected if license_id not in AMENDMENTS]
    if not kept:
        return LicenseVerdict("no_license", "none", (), f"{detected[0][1].path}: only amendments of a licence")
    licenses = tuple(sorted({license_id for license_id, _ in kept}))
    permissive = [evidence for license_id, evidence in kept if class_of(license_id) == "permissive"]
    others = [(license_id, evidence) for license_id, evidence in kept if class_of(license_id) != "permissive"]
    if permissive and all(license_id == UNKNOWN for license_id, _ in others):
        return verdict_of("permissive", licenses, permissive[0].line)
    license_id, evidence = next((item for item in others if item[0] != UNKNOWN), others[0])
    decided: LicenseClass = worst([class_of(name) for name, _ in others if name != UNKNOWN] or ["unknown"])
    return verdict_of(decided, licenses, f"{evidence.path}: {license_id}")
