"""What a call can do wrong, with the gRPC status that Pub/Sub gives it."""

import grpc


class Refused(Exception):  # noqa: N818 - the answer to a call, not a fault of the emulator
    """The call is answered with a status other than OK."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        """Refuse with this status and sentence."""
        super().__init__(message)
        self.code = code
        self.message = message


def not_found(name: str) -> Refused:
    """No such topic or subscription."""
    return Refused(grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={name.rpartition('/')[2]}).")


def already_exists(kind: str) -> Refused:
    """The name is taken."""
    return Refused(grpc.StatusCode.ALREADY_EXISTS, f"{kind} already exists")


def out_of_range(field: str, given: int, limits: range) -> Refused:
    """A number is too small or too large."""
    small = given < limits.start
    size, limit = ("small", "minimum") if small else ("large", "maximum")
    bound = limits.start if small else limits.stop - 1
    return Refused(
        grpc.StatusCode.OUT_OF_RANGE,
        f"The value for {field} is too {size}. You passed {given} in the request, but the {limit} value is {bound}.",
    )


def invalid(message: str) -> Refused:
    """The request makes no sense."""
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)
