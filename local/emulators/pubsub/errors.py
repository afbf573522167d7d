"""The errors of a call, with the gRPC status that Pub/Sub returns for each."""

import grpc


class Refused(Exception):  # noqa: N818 - the answer to a call, not a fault of the emulator
    """The call is answered with a status other than OK."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        """Set the status and the message of the answer."""
        super().__init__(message)
        self.code = code
        self.message = message


def not_found(name: str) -> Refused:
    """The error for a topic or subscription that does not exist."""
    return Refused(grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={name.rpartition('/')[2]}).")


def already_exists(kind: str) -> Refused:
    """The error for a name that exists already."""
    return Refused(grpc.StatusCode.ALREADY_EXISTS, f"{kind} already exists")


def out_of_range(field: str, value: int, limits: range) -> Refused:
    """The error for a number that is too small or too large."""
    small = value < limits.start
    size, limit = ("small", "minimum") if small else ("large", "maximum")
    bound = limits.start if small else limits.stop - 1
    return Refused(
        grpc.StatusCode.OUT_OF_RANGE,
        f"The value for {field} is too {size}. You passed {value} in the request, but the {limit} value is {bound}.",
    )


def invalid(message: str) -> Refused:
    """The error for an invalid request."""
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)


def failed_precondition(message: str) -> Refused:
    """The error for a request that the present state of a resource does not allow."""
    return Refused(grpc.StatusCode.FAILED_PRECONDITION, message)
