"""Code that the Lambdas with Powertools share. Every AWS package has this module under the same name."""

import logging
import os

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers


def powertools_logger(service: str) -> Logger:
    """A logger for this service. The loggers of the core write the same JSON format."""
    logger = Logger(service=service)
    logging.getLogger("helios")  # only existing loggers get the format
    copy_config_to_registered_loggers(logger, include={"helios"})
    return logger


def powertools_metrics(service: str) -> Metrics:
    """The metrics of this service, in the namespace of the deployment: Powertools' own variable names it."""
    return Metrics(namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "Helios"), service=service)
