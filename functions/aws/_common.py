"""Code that the Lambdas with Powertools share. Every AWS package has this module under the same name."""

import logging
import os
from typing import Final

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers

from helios import bootstrap
from helios.bootstrap import ReadingLimits, Services

REQUEST_SECONDS: Final = 4.0
"""The longest time for one request to the archive's store, and as much for its repetition."""


def powertools_logger(service: str) -> Logger:
    """A logger for this service. The loggers of the core write the same JSON format."""
    logger = Logger(service=service)
    logging.getLogger("helios")  # only existing loggers get the format
    copy_config_to_registered_loggers(logger, include={"helios"})
    return logger


def powertools_metrics(service: str) -> Metrics:
    """The metrics of this service, in the namespace of the deployment: Powertools' own variable names it."""
    return Metrics(namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "Helios"), service=service)


def with_archive(services: Services, *, seconds: float) -> Services:
    """The services, with readers that open the archive with the first event that Postgres no longer has.

    Args:
        services: those of the function.
        seconds: the longest time for one read of the archive. A request that is under way is completed after it.
    """
    # Half of the memory: a read takes up to 130 MB besides, and the function itself has to have some.
    megabytes = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024")) // 2
    limits = ReadingLimits(megabytes=megabytes, seconds=seconds, request_seconds=REQUEST_SECONDS)
    return bootstrap.with_archive_on_first_read(services, limits, credentials=archive_credentials)


def archive_credentials() -> dict[str, str]:
    """The credentials of an archive outside of AWS, such as AZURE_STORAGE_SAS_TOKEN; empty for a bucket of AWS.

    Raises:
        ConfigurationError: the secret does not exist, or this role may not read it.
        Retryable: the secret can't be read now.
    """
    secret = os.environ.get("ARCHIVE_SECRET_ID")
    if not secret:
        return {}
    # Imported late: only AWS' runtime provides boto3.
    from helios.adapters.aws import secret_variables

    return secret_variables(secret)
