"""What the Lambdas with Powertools share; every package for AWS holds this module under this name."""

import logging

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers


def powertools_logger(service: str) -> Logger:
    """A logger of this service, whose JSON form the core's own log lines take as well."""
    logger = Logger(service=service)
    logging.getLogger("helios")  # only registered loggers take the form
    copy_config_to_registered_loggers(logger, include={"helios"})
    return logger
