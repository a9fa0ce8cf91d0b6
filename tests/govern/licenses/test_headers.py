"""What the opening comments of a file say of its licence."""

from __future__ import annotations

import pytest

from stackwright.govern.licenses import header_evidence
from tests.govern.licenses.texts import GNU_NOTICE, license_text

CODE = "\n\nimport os\n"


def commented(text: str, sign: str = "# ") -> str:
    return "\n".join((sign + line).rstrip() for line in text.splitlines()) + CODE


def block(text: str) -> str:
    return "/*\n" + "\n".join(f" * {line}" for line in text.splitlines()) + "\n */\nint x;\n"


def said(text: str, language: str | None = None) -> str | None:
    evidence = header_evidence(text, language)
    return None if evidence is None else evidence.expression


@pytest.mark.parametrize(
    ("comment", "expression"),
    [
        ("SPDX-License-Identifier: MIT", "MIT"),
        ("SPDX-License-Identifier: GPL-2.0+", "GPL-2.0-or-later"),
        ("SPDX-License-Identifier: (MIT OR Apache-2.0)", "MIT OR Apache-2.0"),
        ("Licensed under the MIT License. See LICENSE in the project root for license information.", "MIT"),
        ("Licensed under the Apache License, Version 2.0 (the \"License\");", "Apache-2.0"),
        ("Use of this source code is governed by a BSD-style\nlicense, see the LICENSE file.", "LicenseRef-BSD"),
        ("Distributed under the Boost Software License, Version 1.0.", "BSL-1.0"),
        ("This Source Code Form is subject to the terms of the Mozilla Public\nLicense, v. 2.0.", "MPL-2.0"),
        ("made available under the terms of the Eclipse Public License 2.0", "EPL-2.0"),
        ("Dual licensed under the MIT or GPL Version 2 licenses.", "MIT OR GPL-2.0-only"),
        ("Placed in the public domain by its author.", "LicenseRef-public-domain"),
        ("@license MIT", "MIT"),
        ("Do not edit.\nLicensed under the MIT license.", "MIT"),
        ("License: GPLv3+", "GPL-3.0-or-later"),
        (GNU_NOTICE.format(kind="", version=2), "GPL-2.0-or-later"),
        (GNU_NOTICE.format(kind="Lesser ", version="2.1"), "LGPL-2.1-or-later"),
        (GNU_NOTICE.format(kind="Affero ", version=3), "AGPL-3.0-or-later"),
        ("under version 2 of the GNU General Public License.", "GPL-2.0-only"),
        ("released under the Creative Commons Attribution-NonCommercial 4.0 license", "CC-BY-NC-4.0"),
    ],
)  # fmt: skip
def test_tags_and_notices_name_their_licence(comment: str, expression: str) -> None:
    assert said(commented(comment)) == expression
    assert said(block(comment)) == expression


@pytest.mark.parametrize("license_id", ["MIT", "BSD-2-Clause", "BSD-3-Clause"])
def test_a_whole_text_in_a_comment_is_recognised(license_id: str) -> None:
    assert said(commented(license_text(license_id))) == license_id
    assert said(block(license_text(license_id))) == license_id


@pytest.mark.parametrize(
    "terms",
    [
        "This code may not be used to train machine learning models.",
        "You need written permission to sell this software.",
        "For research purposes only.",
        "Commercial use requires a license from the author.",
        "The Software shall be used for Good, not Evil.",
        "Redistribution without the consent of ACME is not permitted.",
        "The tables are under CC BY-NC 4.0.",
    ],
)
def test_terms_beside_a_permissive_notice_make_it_not_permissive(terms: str) -> None:
    for header in ("Licensed under the MIT License.", license_text("MIT")):
        evidence = header_evidence(commented(f"{header}\n\n{terms}"))
        assert evidence is not None
        assert evidence.license_class != "permissive"


@pytest.mark.parametrize(
    "comment",
    [
        "Proprietary and confidential.",
        "Unauthorized copying of this file is strictly prohibited.",
        "Free for academic use. For commercial licenses contact sales.",
        "Licensed under the Business Source License 1.1",
        "under the terms of the Server Side Public License, version 1",
        "Apache License 2.0 with Commons Clause",
    ],
)
def test_terms_that_take_rights_away_are_non_free(comment: str) -> None:
    evidence = header_evidence(commented(comment))
    assert evidence is not None
    assert evidence.license_class == "non_free"


@pytest.mark.parametrize(
    "text",
    [
        commented("This module reads the licence of a file.\nIt must not be imported at start."),
        commented("Copyright 2020 Jane Doe. All rights reserved."),
        "import os\n\n" + 'TEXT = "Licensed under the GPL"\n' * 20,
        "x = 1\n" * 20 + "# Licensed under the GPL\n",
        "The licence of this package is the MIT License.\n",
        "",
    ],
)
def test_prose_code_and_copyright_lines_say_nothing(text: str) -> None:
    assert said(text) is None


@pytest.mark.parametrize("comment", ["This is not public domain.", "Unlike Foo, not under the MIT license."])
def test_a_licence_that_is_denied_is_not_permissive(comment: str) -> None:
    evidence = header_evidence(commented(comment))
    assert evidence is not None
    assert evidence.license_class != "permissive"


def test_only_the_beginning_is_read() -> None:
    notice = commented("Licensed under the MIT License.")
    assert said("# x\n" * 150 + notice) == "MIT"
    assert said("# x\n" * 201 + notice) is None
    assert said("# " + "x" * 8192 + "\n" + notice) is None


def test_comments_after_the_first_code_are_not_read() -> None:
    assert said("# What it does.\nimport os\n# Licensed under the GPLv3.\n") is None


@pytest.mark.parametrize(
    "text",
    [
        '''"""What it does."""\nMIT = """\nLicensed under the MIT License.\n"""\n''',
        '''MIT = """\nLicensed under the MIT License.\n"""\n''',
        '''import os\n"""\nLicensed under the MIT License.\n"""\n''',
        "import os\nMIT = '''\n# Licensed under the MIT License.\n'''\n",
    ],
)
def test_strings_that_are_not_the_first_statement_are_data(text: str) -> None:
    assert said(text, "Python") is None


def test_a_docstring_that_is_the_first_statement_is_read() -> None:
    assert said('"""What it does.\n\nLicensed under the MIT License.\n"""\nimport os\n', "Python") == "MIT"


def test_guards_before_the_licence_are_no_code() -> None:
    assert said("// foo.h\n#ifndef FOO\n#define FOO\n/* Licensed under the MIT License. */\nint x;\n", "C") == "MIT"


def test_a_tag_says_how_the_licences_combine_that_the_notice_names() -> None:
    notice = f"SPDX-License-Identifier: MIT OR GPL-2.0-or-later\n\n{GNU_NOTICE.format(kind='', version=2)}"
    assert said(commented(notice)) == "MIT OR GPL-2.0-or-later"


def test_a_field_of_a_python_module_counts() -> None:
    assert said('"""Docs."""\n\n__license__ = "BSD-3-Clause"\n') == "BSD-3-Clause"


def test_in_prose_languages_only_comments_of_the_markup_count() -> None:
    assert said("# Licensed under the GPLv3\n", "Markdown") is None
    assert said("<!-- SPDX-License-Identifier: CC0-1.0 -->\n# Title\n", "Markdown") == "CC0-1.0"
