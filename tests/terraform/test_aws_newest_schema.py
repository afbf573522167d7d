"""The AWS root against the schema of the newest provider, unchanged and with planted mistakes.

The provider of this machine may be an older one; ``versions.tf`` allows both.
"""

import os
import re
import shutil
import subprocess
from typing import NamedTuple

import pytest

from scripts.build.terraform_schema import serve
from scripts.build.terraform_schema.extract import SCHEMAS
from scripts.deploy.clouds import CLOUDS
from tests.support.terraform import SOURCES

SECONDS = 600
CONSTRAINT = ">= 5.100, < 7"


class Mistake(NamedTuple):
    """A change that makes the code invalid.

    Attributes:
        file: the path below ``infra/terraform``.
        old: a text that is in the file once.
        new: the invalid text that replaces it.
        message: the error of Terraform.
    """

    file: str
    old: str
    new: str
    message: str


MISTAKES = {
    "unknown-argument": Mistake(
        "modules/aws/function/main.tf",
        "maximum_retry_attempts       =",
        "maximum_retries =",
        'named "maximum_retries" is not expected',
    ),
    "missing-argument": Mistake(
        "modules/aws/dashboard/main.tf",
        '  runtime = "cloudfront-js-2.0"\n',
        "",
        'The argument "runtime" is required',
    ),
    "wrong-type": Mistake(
        "modules/aws/database/main.tf",
        "  latest                 = true\n",
        '  latest = ["yes"]\n',
        'Inappropriate value for attribute "latest"',
    ),
    "bad-reference": Mistake(
        "modules/aws/function/outputs.tf",
        "aws_lambda_alias.live.invoke_arn",
        "aws_lambda_alias.live.invoke",
        "Unsupported attribute",
    ),
    "unknown-block": Mistake(
        "modules/aws/watch/main.tf",
        "  metric_transformation {",
        "  transformation {",
        'Blocks of type "transformation" are not expected',
    ),
    "unknown-resource": Mistake(
        "modules/aws/watch/main.tf",
        '"aws_cloudwatch_dashboard" "this"',
        '"aws_dashboard" "this"',
        "Invalid resource type",
    ),
    "computed-argument": Mistake(
        "modules/aws/function/main.tf",
        "  description      = var.description\n  role             = aws_iam_role.this.arn\n",
        '  description      = var.description\n  version          = "7"\n  role             = aws_iam_role.this.arn\n',
        "Can't set version",
    ),
}


class Answer(NamedTuple):
    """The exit code of terraform, and its output as one line."""

    code: int
    text: str


@pytest.fixture(scope="module")
def configuration(tmp_path_factory, terraform_program):
    """Terraform's configuration with the schema-only providers."""
    return serve.configuration(tmp_path_factory.mktemp("schemas"))


@pytest.fixture
def code(tmp_path):
    """A copy of all Terraform code, which a test may change."""
    copy = tmp_path / "terraform"
    shutil.copytree(SOURCES, copy, ignore=shutil.ignore_patterns(".terraform*", "gcp", "azure", "schemas"))
    return copy


@pytest.fixture
def terraform(code, configuration, terraform_program, tmp_path):
    """Runs terraform in the copy of the root; its packages are empty files."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in CLOUDS["aws"].packages:
        (packages / f"{name}.zip").touch()
    environment = {
        **os.environ,
        "TF_CLI_CONFIG_FILE": str(configuration),
        "CHECKPOINT_DISABLE": "1",
        "TF_VAR_packages": str(packages),
    }

    def run(*arguments):
        done = subprocess.run(
            [terraform_program, *arguments, "-no-color"],
            cwd=code / "aws",
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        return Answer(done.returncode, re.sub(r"[\s│]+", " ", done.stdout + done.stderr))

    assert run("get").code == 0
    return run


def test_the_root_matches_the_schema_of_the_newest_provider(terraform):
    answer = terraform("validate")
    assert answer.code == 0, answer.text


@pytest.mark.slow
def test_the_root_passes_its_own_tests_with_the_newest_provider(terraform):
    """The tests plan and apply with mocks of the resources in the schema."""
    answer = terraform("test")
    assert answer.code == 0, answer.text
    assert re.search(r"Success! [1-9]\d* passed, 0 failed", answer.text), answer.text


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_planted_mistake_is_found(terraform, code, mistake):
    file = code / mistake.file
    original = file.read_text()
    assert original.count(mistake.old) == 1
    file.write_text(original.replace(mistake.old, mistake.new))
    answer = terraform("validate")
    assert answer.code == 1
    assert mistake.message in answer.text


def test_the_root_and_its_modules_allow_the_tested_provider_and_the_newest():
    (schema,) = SCHEMAS.glob("aws-*.json.gz")
    major = int(schema.name.removeprefix("aws-").partition(".")[0])
    assert major == 6
    files = [SOURCES / "aws/versions.tf", *sorted((SOURCES / "modules/aws").glob("*/versions.tf"))]
    assert len(files) > 5
    constraints = {re.findall(r'^ +version = "(.*?)"', file.read_text(), flags=re.MULTILINE)[0] for file in files}
    assert constraints == {CONSTRAINT}


def test_no_attribute_that_the_newest_provider_deprecates_is_read():
    """AWS provider 6, upgrade guide: aws_region's ``name``; ``id`` is the same in both versions."""
    text = "".join(file.read_text() for file in SOURCES.glob("**/*.tf"))
    assert re.findall(r"data\.aws_region\.\w+\.name", text) == []
    assert "data.aws_region.current.id" in text
