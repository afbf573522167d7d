"""A FunctionApp as anybody may write it; what it does is written to the file that RECORD names."""

import json
import os
import threading
import time
from typing import Any

import azure.functions as func

app = func.FunctionApp()
_lock = threading.Lock()
_four = threading.Barrier(4)


def record(**facts: Any) -> None:
    with _lock, open(os.environ["RECORD"], "a", encoding="utf-8") as file:  # noqa: PTH123 - as anybody may write it
        file.write(json.dumps(facts) + "\n")


@app.event_grid_trigger(arg_name="event")
def inventory(event: func.EventGridEvent) -> None:
    data = event.get_json()
    if data.get("fail"):
        raise RuntimeError("told to fail")
    if data.get("meet"):
        _four.wait(20)  # raises unless three others come while this one waits
    record(id=event.id, type=event.event_type, topic=event.topic, data=data)


@app.function_name("cloud")
@app.event_grid_trigger(arg_name="event")
async def takes_cloud_events(event: func.CloudEvent, context: func.Context) -> None:
    record(id=event.id, source=event.source, function=context.function_name, invocation=context.invocation_id)


@app.route(route="orders/{number:int}", methods=["GET", "POST"])
def order(req: func.HttpRequest) -> func.HttpResponse:
    told = {
        "method": req.method,
        "number": req.route_params["number"],
        "query": dict(req.params),
        "header": req.headers.get("X-Test"),
        "body": req.get_body().decode(),
    }
    return func.HttpResponse(json.dumps(told), mimetype="application/json", status_code=201, headers={"X-Answer": "42"})


@app.route(route="orders/latest", auth_level=func.AuthLevel.ANONYMOUS)
async def latest(req: func.HttpRequest) -> str:
    return f"latest for {req.method}"


@app.route(route="files/{*path}", auth_level=func.AuthLevel.ANONYMOUS)
def files(req: func.HttpRequest) -> str:
    return req.route_params.get("path", "nothing")


@app.route(auth_level=func.AuthLevel.ADMIN)
def admin_only(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(status_code=204)


@app.route(auth_level=func.AuthLevel.ANONYMOUS)
def fails(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("told to fail")


@app.route(auth_level=func.AuthLevel.ANONYMOUS)
def returns_nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None  # type: ignore[return-value]  # the mistake under test


@app.route(auth_level=func.AuthLevel.ANONYMOUS)
def cookies(req: func.HttpRequest) -> func.HttpResponse:
    response = func.HttpResponse("biscuit")
    response.headers.add("Set-Cookie", "a=1; Path=/")
    response.headers.add("Set-Cookie", "b=2")
    return response


@app.timer_trigger(arg_name="timer", schedule="%TICK%")
def tick(timer: func.TimerRequest) -> None:
    record(tick=time.time(), past_due=timer.past_due, keys=sorted(timer.schedule_status))  # type: ignore[attr-defined]  # the base class lacks it


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
def yearly(timer: func.TimerRequest) -> None:
    record(yearly=timer.past_due)
