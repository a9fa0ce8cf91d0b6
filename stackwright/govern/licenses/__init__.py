"""Licences: what a copy's own files, headers and metadata say of it, and what a policy makes of that.

`recognize.recognize` reads a licence text, `header_evidence` the opening comments of a source file, `RepositoryLicenses`
brings the evidence of a repository together, and its `judge` gives each file a verdict under a policy. Importing this loads
neither numpy nor the fingerprints; the first text does.
"""

from __future__ import annotations

from stackwright.govern.licenses.evidence import Evidence, governed_folder, is_license_file
from stackwright.govern.licenses.expressions import LicenseVerdict, judge
from stackwright.govern.licenses.headers import header_evidence
from stackwright.govern.licenses.policies import POLICIES, Policy, judge_document
from stackwright.govern.licenses.repository import RepositoryLicenses
from stackwright.govern.licenses.training import forbids_training

__all__ = [
    "POLICIES",
    "Evidence",
    "LicenseVerdict",
    "Policy",
    "RepositoryLicenses",
    "forbids_training",
    "governed_folder",
    "header_evidence",
    "is_license_file",
    "judge",
    "judge_document",
]
