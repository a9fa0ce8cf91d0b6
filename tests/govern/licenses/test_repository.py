"""The licences of one repository: which file governs what, and what that makes of each path."""

from __future__ import annotations

import pickle
from typing import Any

from stackwright.govern.licenses import RepositoryLicenses, header_evidence
from stackwright.govern.licenses.recognize import recognize
from tests.govern.licenses.texts import GNU_NOTICE, license_text


def row(path: str, content: str) -> dict[str, Any]:
    return {"repo": "r", "revision": "1", "path": path, "content_id": str(hash(content)), "content": content}


def build(*notices: dict[str, Any], declared: str | None = None) -> RepositoryLicenses:
    return RepositoryLicenses.build(notices, declared, "package.json" if declared else None)


def licenses_of(repository: RepositoryLicenses, path: str) -> tuple[str, ...]:
    return repository.judge(path, False, None, "strict-permissive").licenses


def test_a_licence_governs_its_folder_and_not_one_whose_name_begins_alike() -> None:
    repository = build(row("LICENSE", license_text("MIT")), row("lib/LICENSE", license_text("BSD-2-Clause")))
    assert licenses_of(repository, "lib/a.c") == ("BSD-2-Clause",)
    assert licenses_of(repository, "lib/deep/er/a.c") == ("BSD-2-Clause",)
    assert licenses_of(repository, "lib2/a.c") == ("MIT",)
    assert licenses_of(repository, "a.c") == ("MIT",)
    assert [evidence.folder for evidence in repository.governing("lib/a.c")] == ["", "lib/"]


def test_the_licences_of_a_wheel_govern_the_code_beside_them() -> None:
    folder = "foo-1.0.dist-info/licenses/"
    repository = build(
        row(f"{folder}LICENSE", license_text("MIT")),
        row(f"{folder}foo/_vendor/bar/LICENSE", license_text("BSD-2-Clause")),
        row(f"{folder}src/foo/_vendor/baz/LICENSE", license_text("Apache-2.0")),
    )
    assert licenses_of(repository, "foo/a.py") == ("MIT",)
    assert licenses_of(repository, "foo/_vendor/bar/a.py") == ("BSD-2-Clause",)
    assert licenses_of(repository, "foo/_vendor/baz/a.py") == ("Apache-2.0",)
    assert licenses_of(repository, "src/foo/_vendor/baz/a.py") == ("Apache-2.0",)


def test_texts_of_reuse_govern_nothing_but_their_own_folder() -> None:
    repository = build(row("LICENSES/MPL-2.0.txt", license_text("MPL-2.0")), row("LICENSES/MIT.txt", license_text("MIT")))
    assert repository.judge("a.py", False, None, "strict-permissive").license_type == "no_license"
    header = header_evidence("# SPDX-License-Identifier: MIT\n")
    assert repository.judge("a.py", False, header, "strict-permissive").license_type == "permissive"


def test_a_notice_of_attributions_is_no_licence_and_one_that_names_a_licence_counts() -> None:
    mit = row("LICENSE", license_text("MIT"))
    attributions = (
        "Foo\nCopyright 2014 Foo\n\nThis product includes software, used and modified with the rights of its owner.\n"
    )
    assert (
        build(mit, row("NOTICE", attributions)).judge("a.c", False, None, "strict-permissive").license_type == "permissive"
    )
    assert (
        build(mit, row("LICENSE.foo", attributions)).judge("a.c", False, None, "strict-permissive").license_class
        == "unknown"
    )
    gnu = f"Parts of this are free software.\n\n{GNU_NOTICE.format(kind='', version=3)}"
    assert build(mit, row("NOTICE", gnu)).judge("a.c", False, None, "strict-permissive").license_class == "copyleft"


def test_a_readme_counts_where_nothing_better_is_or_when_it_takes_something_away() -> None:
    readme = row("README.md", "# Foo\n\n## License\n\nLicensed under the GPLv3.\n")
    assert licenses_of(build(readme), "a.c") == ("GPL-3.0-only",)
    assert licenses_of(build(readme, row("LICENSE", license_text("MIT"))), "a.c") == ("MIT",)
    restricting = row("README.md", "# Foo\n\n## License\n\nFor non-commercial use only.\n")
    assert (
        build(restricting, row("LICENSE", license_text("MIT"))).judge("a.c", False, None, "strict-permissive").license_class
        == "non_free"
    )
    assert build(row("README.md", "# Foo\n\nFoo is quick.\n")).files == ()


def test_terms_in_a_readme_are_not_passed_over() -> None:
    readme = (
        "# Foo\n\n## License\n\nLicensed under the MIT license.\nYou may not distribute this software without permission.\n"
    )
    assert build(row("README.md", readme)).judge("a.c", False, None, "strict-permissive").license_class == "unknown"


def test_a_declaration_decides_how_the_files_combine() -> None:
    files = [row("LICENSE-MIT", license_text("MIT")), row("LICENSE-MPL", license_text("MPL-2.0"))]
    assert (
        build(*files, declared="MIT OR MPL-2.0").judge("a.rs", False, None, "strict-permissive").license_type == "permissive"
    )
    assert build(*files, declared="MIT").judge("a.rs", False, None, "strict-permissive").license_type == "non_permissive"


def test_recognitions_that_are_given_are_used() -> None:
    notice = row("LICENSE", license_text("MIT"))
    given = {notice["content_id"]: recognize(license_text("MPL-2.0"))}
    repository = RepositoryLicenses.build([notice], None, None, given)
    assert licenses_of(repository, "a.c") == ("MPL-2.0",)


def test_other_files_are_passed_over() -> None:
    assert build(row("src/license.py", license_text("MIT")), row(".gitattributes", "* ai-training=true")).files == ()


def test_what_is_built_pickles_and_does_not_depend_on_the_order_of_rows() -> None:
    rows = [row("LICENSE", license_text("MIT")), row("lib/COPYING", license_text("MPL-2.0")), row("lib/NOTICE", "Foo")]
    repository = build(*rows, declared="MIT")
    assert build(*reversed(rows), declared="MIT") == repository
    assert pickle.loads(pickle.dumps(repository)) == repository  # noqa: S301 what we pickled ourselves
    assert repository.judge("lib/a.c", False, None, "stack-v2").license_type == "permissive"
