"""The command line of the redrive: what is missing is said in one sentence."""

import os
import subprocess
import sys

import pytest


def redrive(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command on a machine without any setting of a cloud."""
    return subprocess.run(
        [sys.executable, "-m", "scripts.redrive", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["aws"], {}, "aws: the region is not known. Use --region or --deployed, or set AWS_REGION."),
        (["gcp"], {}, "The project is not known. Use --project or --deployed, or set GOOGLE_CLOUD_PROJECT."),
        (
            ["azure"],
            {},
            "The topic is not known. Use --endpoint or --deployed, or set HELIOS_AZURE_EVENTGRID_ENDPOINT.",
        ),
        (
            ["azure", "--endpoint", "https://topic.example.org/api/events"],
            {},
            (
                "azure: the storage account is not known. Use --account or --deployed, or set "
                "AZURE_STORAGE_CONNECTION_STRING."
            ),
        ),
        (
            ["azure", "--endpoint", "https://topic.example.org/api/events"],
            {"AZURE_STORAGE_CONNECTION_STRING": "nonsense"},
            "AZURE_STORAGE_CONNECTION_STRING: Connection string is either blank or malformed.",
        ),
    ],
)
def test_a_missing_setting_is_one_sentence(arguments, environment, message):
    done = redrive(*arguments, **environment)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"redrive: {message}\n")


def test_a_cloud_that_does_not_answer_is_one_sentence():
    endpoint = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    done = redrive("aws", "--region", "eu-central-1", **endpoint, AWS_MAX_ATTEMPTS="1")
    assert done.returncode == 1
    assert done.stderr == 'redrive: aws: Could not connect to the endpoint URL: "http://127.0.0.1:9/"\n'
