"""The check for forbidden words finds them across lines, and leaves out their standard uses."""

import subprocess

import pytest

from scripts.build.words import findings, is_checked, main


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is put off.\n", [(1, "put off")]),
        ("a\nThe bell is rung in vain\n", [(2, "bell"), (2, "rung"), (2, "in vain")]),
        ("# waits for\n# ever\n", [(1, "for # ever")]),
        ("Buried letters", [(1, "Buried"), (1, "letters")]),
        ("what Helios was told, and the story", [(1, "told"), (1, "story")]),
        ("this way in takes a token", [(1, "way in")]),
        ("it can't be had by itself", [(1, "can't be had"), (1, "by itself")]),
    ],
)
def test_forbidden_words_are_found(text, expected):
    assert list(findings(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a dead letter, dead letters, dead-letter queue, dead_letters, DeadLetter",
        "the dead\n    # letter",
        "Dead\nletters",
        "keyring, string, during, history, wrung",
        "the Slack bell",
        "lower-case letters and digits",
        "letters and digits",
        "the way in which it is stored",
        "always in order; renewed; engraved",
    ],
)
def test_standard_uses_are_not_found(text):
    assert list(findings(text)) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("docs/faults.md", True),
        ("Makefile", True),
        (".ci/run", True),
        ("infra/terraform/aws/main.tf", True),
        ("requirements.lock", False),
        ("dashboard/package-lock.json", False),
        ("dashboard/src/api/schema.d.ts", False),
        ("tests/payloads/aws/order.toml", False),
        ("shared/helios/adapters/postgres/migrations/0013_stories.sql", False),
        ("shared/helios/adapters/postgres/migrations/0014_names.sql", True),
    ],
)
def test_only_texts_of_developers_are_checked(name, expected):
    assert is_checked(name) is expected


@pytest.mark.servers  # git
def test_a_finding_fails_the_check(tmp_path, capsys):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "notes.md").write_text("first line\nit was told\n")
    (tmp_path / "clean.md").write_text("nothing to find\n")
    subprocess.run(["git", "-C", tmp_path, "add", "."], check=True)

    assert main(["."], root=tmp_path) == 1
    assert capsys.readouterr().out == "notes.md:2: told\n"
    assert main(["clean.md"], root=tmp_path) == 0
