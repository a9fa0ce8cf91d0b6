"""Verdicts on declared licences: unknown is never permissive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.govern.licenses import judge
from stackwright.govern.licenses.expressions import spelled_expression, without_version_range


@pytest.mark.parametrize(
    ("declared", "license_type", "licenses"),
    [
        ("MIT", "permissive", ("MIT",)),
        ("mit", "permissive", ("MIT",)),
        ("MIT License", "permissive", ("MIT",)),
        ("BSD License", "permissive", ("LicenseRef-BSD",)),
        ("MIT OR GPL-3.0-only", "permissive", ("GPL-3.0-only", "MIT")),
        ("MIT AND GPL-3.0-only", "non_permissive", ("GPL-3.0-only", "MIT")),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", "non_permissive", ("Apache-2.0", "MIT", "MPL-2.0")),
        ("MIT OR (GPL-2.0-only AND BUSL-1.1)", "permissive", ("BUSL-1.1", "GPL-2.0-only", "MIT")),
        ("Apache-2.0 WITH LLVM-exception", "permissive", ("Apache-2.0",)),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "non_permissive", ("GPL-2.0-only",)),
        ("Apache-2.0 WITH Commons-Clause", "non_permissive", ("Apache-2.0",)),
        ("Apache Software License; MIT License", "permissive", ("Apache-2.0", "MIT")),
        ("MIT License; GNU General Public License v3 (GPLv3)", "non_permissive", ("GPL-3.0-only", "MIT")),
        ("LicenseRef-Own", "non_permissive", ("LicenseRef-Own",)),
        ("NOASSERTION", "non_permissive", ("NOASSERTION",)),
        ("SSPL-1.0", "non_permissive", ("SSPL-1.0",)),
        ("CC-BY-NC-4.0", "non_permissive", ("CC-BY-NC-4.0",)),
        ("see LICENSE file (((", "non_permissive", ()),
        ("MIT AND", "non_permissive", ()),
        ("Apache 2.0 License", "permissive", ("Apache-2.0",)),
        ("http://opensource.org/licenses/MIT", "permissive", ("MIT",)),
        ("MIT/X11", "non_permissive", ("NOASSERTION",)),
        ("UNLICENSED", "non_permissive", ("LicenseRef-Proprietary",)),
        ("Perl 5", "non_permissive", ("Artistic-1.0-Perl", "GPL-1.0-or-later")),
        (None, "no_license", ()),
        ("", "no_license", ()),
        ("NONE", "no_license", ()),
    ],
)
def test_verdicts(declared: str | None, license_type: str, licenses: tuple[str, ...]) -> None:
    verdict = judge(declared)
    assert (verdict.license_type, verdict.licenses) == (license_type, licenses)


IDS = ["MIT", "Apache-2.0", "GPL-3.0-only", "MPL-2.0", "BUSL-1.1", "Unheard-Of-1.0"]
GOOD = {"MIT", "Apache-2.0"}


def reference(expression: object) -> bool:
    """Whether an expression tree is permissive, by the definition: OR is any, AND is all."""
    if isinstance(expression, str):
        return expression in GOOD
    operator, left, right = expression  # type: ignore[misc]
    return (any if operator == "OR" else all)([reference(left), reference(right)])


def spell(expression: object) -> str:
    if isinstance(expression, str):
        return expression
    operator, left, right = expression  # type: ignore[misc]
    return f"({spell(left)} {operator} {spell(right)})"


@given(
    st.recursive(st.sampled_from(IDS), lambda inner: st.tuples(st.sampled_from(["AND", "OR"]), inner, inner), max_leaves=6)
)
def test_or_takes_the_best_and_and_takes_the_worst(expression: object) -> None:
    assert (judge(spell(expression)).license_type == "permissive") == reference(expression)


@given(st.text())
def test_no_text_raises_and_noise_is_not_permissive(text: str) -> None:
    verdict = judge(text)
    if verdict.license_type == "permissive":
        assert verdict.licenses


def test_the_class_is_none_exactly_where_nothing_is_declared() -> None:
    assert judge(None).license_class == "none"
    assert judge("NOASSERTION").license_class == "unknown"


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("mit", "MIT"),
        ("(mit or gpl-2.0) and apache-2.0 with llvm-exception", "(MIT OR GPL-2.0-only) AND Apache-2.0 WITH LLVM-exception"),
        ("lgpl-2.1+", "LGPL-2.1-or-later"),
        ("MIT License", "MIT"),
        ("see LICENSE (((", "see LICENSE ((("),
    ],
)
def test_expressions_are_spelled_as_the_present_list_does(text: str, expression: str) -> None:
    assert spelled_expression(text) == expression


def test_versions_of_the_gnu_family_are_compared_without_their_range() -> None:
    names = ["GPL-2.0", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-2.0+"]
    assert {without_version_range(name) for name in names} == {"GPL-2.0"}
