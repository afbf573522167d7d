"""Load a folder's ``function_app.py``, and check that this host supports every function in it."""

import importlib
import inspect
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import azure.functions as func

from local.emulators.azure_host.converters import converter
from local.emulators.azure_host.errors import NotHostable

HTTP, EVENT_GRID, TIMER, QUEUE = "httpTrigger", "eventGridTrigger", "timerTrigger", "queueTrigger"
HOSTED_TRIGGERS = (HTTP, EVENT_GRID, TIMER, QUEUE)

_MODULE = "function_app"


class Function(NamedTuple):
    """One function of the app.

    Attributes:
        name: its name in the app.
        call: the app's Python function.
        trigger: the type of its trigger, such as ``httpTrigger``.
        settings: the trigger's settings, as in ``function.json``: ``route``, ``schedule``.
        argument: the parameter that receives the trigger's value.
        wants_context: whether it has a parameter ``context``.
        folder: the folder of the app.
    """

    name: str
    call: Callable[..., Any]
    trigger: str
    settings: dict[str, Any]
    argument: str
    wants_context: bool
    folder: Path


def load(folder: Path) -> list[Function]:
    """The functions of the ``FunctionApp`` in this folder.

    The folder comes first on ``sys.path``, as in the real worker.

    Raises:
        NotHostable: there is no such app, or it uses a feature that can't be hosted.
    """
    if not (folder / f"{_MODULE}.py").is_file():
        raise NotHostable(f"{folder} has no {_MODULE}.py. This host supports the v2 programming model only.")
    sys.path.insert(0, str(folder))
    module = importlib.import_module(_MODULE)
    apps = [value for value in vars(module).values() if isinstance(value, func.FunctionApp)]
    if len(apps) != 1:
        raise NotHostable(f"{folder / _MODULE}.py must have one FunctionApp at its top level; it has {len(apps)}")
    try:
        functions = apps[0].get_functions()
    except ValueError as error:  # azure-functions' own checks: two functions of one name, no trigger
        raise NotHostable(str(error)) from error
    return [_checked(function, folder) for function in functions]


def _checked(function: Any, folder: Path) -> Function:
    name, call, trigger = function.get_function_name(), function.get_user_function(), function.get_trigger()
    settings = trigger.get_dict_repr()
    kind = settings["type"]
    if kind not in HOSTED_TRIGGERS:
        raise NotHostable(f"function {name}: {kind} can't be hosted here, only {', '.join(HOSTED_TRIGGERS)}")
    for binding in function.get_bindings():
        type_ = binding.get_dict_repr()["type"]
        if binding is not trigger and type_ != "http":
            raise NotHostable(f"function {name}: the binding {type_} can't be hosted here, only triggers")
    if settings.get("cardinality", "one").lower() == "many":
        raise NotHostable(
            f"function {name}: cardinality many is not supported, as azure-functions can't convert a list for {kind}"
        )
    parameters = inspect.signature(call).parameters
    if trigger.name not in parameters:
        raise NotHostable(f"function {name}: the trigger's arg_name {trigger.name} is not a parameter of the function")
    _check_annotation(name, call, trigger.name, kind)
    return Function(name, call, kind, settings, trigger.name, "context" in parameters, folder)


def _check_annotation(name: str, call: Callable[..., Any], argument: str, kind: str) -> None:
    """Check the annotation of the trigger's parameter, as the real worker does when it loads a function."""
    annotation = typing.get_type_hints(call).get(argument)
    if annotation is not None and not converter(kind).check_input_type_annotation(annotation):
        raise NotHostable(f"function {name}: the annotation of {argument}, {annotation}, does not fit {kind}")
