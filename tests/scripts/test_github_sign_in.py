"""A job of GitHub Actions signs in to the clouds, with stand-ins for GitHub's token service and the command lines."""

import json
import os
import stat

import pytest

from scripts.deploy.github_sign_in import NotSignedIn, sign_in
from tests.support.listener import listening

pytestmark = pytest.mark.servers

CREDENTIALS = {"Credentials": {"AccessKeyId": "one", "SecretAccessKey": "two", "SessionToken": "three"}}
EVERY_CLOUD = {
    "HELIOS_AWS_ROLE": "arn:aws:iam::123456789012:role/deploy-helios-dev",
    "HELIOS_GCP_PROVIDER": "projects/1/locations/global/workloadIdentityPools/github/providers/github",
    "HELIOS_GCP_ACCOUNT": "deploy-helios@shop-1234.iam.gserviceaccount.com",
    "ARM_CLIENT_ID": "00000000-0000-0000-0000-000000000001",
    "ARM_TENANT_ID": "00000000-0000-0000-0000-000000000002",
}


@pytest.fixture
def token_url():
    """GitHub's token service, whose URL has a parameter already."""
    with listening(200, {"content-type": "application/json"}, b'{"value": "token-of-the-job"}') as url:
        yield f"{url}?api-version=2.0"


@pytest.fixture
def job(token_url, tmp_path, monkeypatch):
    """The variables of a job on a machine with stand-ins for the command lines, which record their arguments."""
    for tool in ("aws", "gcloud", "az"):
        program = tmp_path / tool
        program.write_text(f"#!/bin/sh\necho {tool} $@ >> {tmp_path}/commands\necho '{json.dumps(CREDENTIALS)}'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return {"ACTIONS_ID_TOKEN_REQUEST_URL": token_url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "password"}


def test_each_cloud_exchanges_the_token_of_the_job(job, tmp_path):
    variables = sign_in(job | EVERY_CLOUD, tmp_path)

    file = tmp_path / "gcp-credentials.json"
    assert variables == {
        "AWS_ACCESS_KEY_ID": "one",
        "AWS_SECRET_ACCESS_KEY": "two",
        "AWS_SESSION_TOKEN": "three",
        "GOOGLE_APPLICATION_CREDENTIALS": str(file),
        "ARM_USE_OIDC": "true",
    }
    aws, gcloud, az = (tmp_path / "commands").read_text().splitlines()
    assert "assume-role-with-web-identity" in aws
    assert aws.endswith("--web-identity-token token-of-the-job")
    assert gcloud == f"gcloud auth login --quiet --cred-file {file}"
    assert az.endswith(f"--tenant {EVERY_CLOUD['ARM_TENANT_ID']} --federated-token token-of-the-job")
    source = json.loads(file.read_text())["credential_source"]
    assert source["url"].startswith(f"{job['ACTIONS_ID_TOKEN_REQUEST_URL']}&audience=")
    assert source["headers"] == {"Authorization": "Bearer password"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_cloud_without_an_identity_is_left_out(job, tmp_path):
    assert sign_in(job, tmp_path) == {}


def test_a_job_without_the_permission_is_refused(tmp_path):
    with pytest.raises(NotSignedIn, match="it needs the permission id-token: write"):
        sign_in(EVERY_CLOUD, tmp_path)


def test_a_refusal_names_the_cloud_and_no_token(job, tmp_path):
    (tmp_path / "aws").write_text("#!/bin/sh\necho 'Not authorized to perform sts' >&2\nexit 254\n")
    with pytest.raises(NotSignedIn) as refused:
        sign_in(job | EVERY_CLOUD, tmp_path)
    assert str(refused.value) == "aws sts assume-role-with-web-identity: Not authorized to perform sts"


def test_github_without_a_token_is_named(job, tmp_path):
    with listening(403, {}) as url, pytest.raises(NotSignedIn, match=r"GitHub gave no token for sts\.amazonaws\.com"):
        sign_in(job | EVERY_CLOUD | {"ACTIONS_ID_TOKEN_REQUEST_URL": url}, tmp_path)
