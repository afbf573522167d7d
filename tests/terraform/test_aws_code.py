"""The code of the AWS root: its format, its descriptions and its tests."""

import re

import pytest

from helios.api.dashboard import policy
from tests.support import terraform

ROOTS = [terraform.SOURCES / "aws"]
MODULES = sorted((terraform.SOURCES / "modules/aws").iterdir())
FILES = {"versions.tf", "main.tf", "variables.tf", "outputs.tf", "README.md"}


def names(folders):
    """The ids of the folders in a parametrised test."""
    return [folder.name for folder in folders]


def test_the_code_is_formatted(aws_root):
    assert aws_root.run("fmt", "-check", "-diff", "-recursive", "..").text == ""


def test_the_root_is_valid(aws_root):
    aws_root.must("validate")


def test_the_root_passes_its_own_tests(aws_root):
    aws_root.must("test")


@pytest.mark.parametrize("folder", [*ROOTS, *MODULES], ids=names([*ROOTS, *MODULES]))
def test_a_module_has_the_same_five_files(folder):
    assert FILES - {file.name for file in folder.iterdir()} == set()


@pytest.mark.parametrize("folder", [*ROOTS, *MODULES], ids=names([*ROOTS, *MODULES]))
def test_every_variable_and_output_has_a_description(folder):
    blocks = re.findall(
        r'^(variable|output) "(\w+)" \{\n(.*?)^\}',
        (folder / "variables.tf").read_text() + (folder / "outputs.tf").read_text(),
        flags=re.MULTILINE | re.DOTALL,
    )
    assert blocks
    for kind, name, body in blocks:
        assert re.search(r"^  description *= ", body, flags=re.MULTILINE), name
        assert kind == "output" or re.search(r"^  type *= ", body, flags=re.MULTILINE), name


WILDCARDS = {
    ("archive", "${aws_s3_bucket.this.arn}/*"): "denied without TLS",
    ("archive", "${aws_s3_bucket.this.arn}/${local.folder}/*"): "every file of the archive",
    ("archive", "s3:*"): "denied without TLS",
    ("dashboard", "${aws_s3_bucket.this.arn}/*"): "every file of the one bucket",
    ("flink", "*"): "EC2 has no names for the network interfaces that the service makes",
    ("flink", "${aws_cloudwatch_log_group.this.arn}:log-stream:*"): "every stream of the one log",
    ("function", "${aws_cloudwatch_log_group.this.arn}:*"): "every stream of the one log",
    (
        "function",
        "*",
    ): "EC2 has no names for the network interfaces that Lambda makes; the function's own code is denied",
}
"""The wildcards that can't be replaced with a name, and the reasons."""


def wildcards(code):
    """The actions and resources in a module's policies that end with a star."""
    lists = re.findall(r"^ *(?:not_)?(?:actions|resources) *= *\[(.*?)\]", code, flags=re.MULTILINE | re.DOTALL)
    return {value for values in lists for value in re.findall(r'"([^"]*\*)"', values)}


def test_policies_use_no_wildcards_but_the_documented_ones():
    used = {
        (folder.name, wildcard)
        for folder in [*ROOTS, *MODULES]
        for wildcard in wildcards((folder / "main.tf").read_text())
    }
    assert used == set(WILDCARDS)


def test_the_search_finds_wildcards():
    assert wildcards('statement {\n  actions = ["sqs:SendMessage", "sqs:*"]\n  resources = [\n    "*",\n  ]\n}') == {
        "sqs:*",
        "*",
    }


def test_cloudfront_sends_the_same_content_security_policy_as_the_demo():
    """A change of the policy is tested in the demo, so CloudFront must use the same one."""
    code = (terraform.SOURCES / "modules/aws/dashboard/main.tf").read_text()
    (sent,) = re.findall(r'^ +content_security_policy = "(.*)"$', code, flags=re.MULTILINE)
    sent = sent.replace('${join(" ", var.connect_to)}', "https://api wss://live")
    assert sent == policy("https://api", "wss://live")
