"""The AWS root as code: its form, what it says of itself, and its own tests."""

import re

import pytest

from local.demo.dashboard import _policy
from tests.support import terraform

ROOTS = [terraform.SOURCES / "aws"]
MODULES = sorted((terraform.SOURCES / "modules/aws").iterdir())
FILES = {"versions.tf", "main.tf", "variables.tf", "outputs.tf", "README.md"}


def names(folders):
    """What a parametrised test calls each."""
    return [folder.name for folder in folders]


def test_the_code_has_terraform_s_own_form(aws_root):
    assert aws_root.run("fmt", "-check", "-diff", "-recursive", "..").text == ""


def test_the_root_is_valid(aws_root):
    aws_root.must("validate")


def test_the_root_passes_its_own_tests(aws_root):
    aws_root.must("test")


@pytest.mark.parametrize("folder", [*ROOTS, *MODULES], ids=names([*ROOTS, *MODULES]))
def test_a_module_has_the_same_five_files(folder):
    assert FILES - {file.name for file in folder.iterdir()} == set()


@pytest.mark.parametrize("folder", [*ROOTS, *MODULES], ids=names([*ROOTS, *MODULES]))
def test_every_variable_and_output_says_what_it_is(folder):
    blocks = re.findall(
        r'^(variable|output) "(\w+)" \{\n(.*?)^\}',
        (folder / "variables.tf").read_text() + (folder / "outputs.tf").read_text(),
        flags=re.MULTILINE | re.DOTALL,
    )
    assert blocks
    for kind, name, body in blocks:
        assert re.search(r"^  description *= ", body, flags=re.MULTILINE), name
        assert kind == "output" or re.search(r"^  type *= ", body, flags=re.MULTILINE), name


STARS = {
    ("dashboard", "${aws_s3_bucket.this.arn}/*"): "every file of the one bucket",
    ("function", "${aws_cloudwatch_log_group.this.arn}:*"): "every stream of the one log",
    (
        "function",
        "*",
    ): "EC2 has no names for the network interfaces that Lambda makes; the function's own code is denied",
}
"""Where no name can stand, and why."""


def stars(code):
    """Whatever ends with a star among the actions and resources of a module's policies."""
    granted = re.findall(r"^ *(?:not_)?(?:actions|resources) *= *\[(.*?)\]", code, flags=re.MULTILINE | re.DOTALL)
    return {word for words in granted for word in re.findall(r'"([^"]*\*)"', words)}


def test_every_policy_of_the_tree_names_its_actions_and_resources():
    found = {(folder.name, star) for folder in [*ROOTS, *MODULES] for star in stars((folder / "main.tf").read_text())}
    assert found == set(STARS)


def test_a_policy_that_allows_everything_is_seen():
    assert stars('statement {\n  actions = ["sqs:SendMessage", "sqs:*"]\n  resources = [\n    "*",\n  ]\n}') == {
        "sqs:*",
        "*",
    }


def test_cloudfront_sends_the_policy_that_the_demo_tries():
    """Whoever changes what the page may load or call sees it work in the demo, and changes it here."""
    code = (terraform.SOURCES / "modules/aws/dashboard/main.tf").read_text()
    (policy,) = re.findall(r'^ +content_security_policy = "(.*)"$', code, flags=re.MULTILINE)
    sent = policy.replace('${join(" ", var.connect_to)}', "https://api wss://live")
    assert sent == _policy("https://api", "wss://live")
