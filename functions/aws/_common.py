"""Code that the Lambdas with Powertools share. Every AWS package has this module under the same name."""

import logging

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers


def powertools_logger(service: str) -> Logger:
    """A logger for this service. The loggers of the core write the same JSON format."""
    logger = Logger(service=service)
    logging.getLogger("helios")  # only existing loggers get the format
    copy_config_to_registered_loggers(logger, include={"helios"})
    return logger
