"""What the console will do, for a hub that runs beside: makes a job for a camera, and waits for its end.

`python hub_operator.py HUB_STATE create JOB THING < document` and `… wait JOB THING`, which prints status and details.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from pinthesky.hub.data_folder import DataFolder
from pinthesky.hub.database import Database
from pinthesky.hub.jobs import Jobs
from pinthesky.hub.thing_changes import ThingChanges
from pinthesky.model.identifiers import ThingName
from pinthesky.model.jobs import JobId


def create(folder: DataFolder, job: JobId, thing: ThingName) -> None:
    """Queue the job of the document on stdin, and tell the thing."""
    told: list[tuple[str, bytes]] = []
    with closing(Database(folder.database)) as database:
        changes = ThingChanges(database, lambda topic, payload: told.append((topic, payload)))
        Jobs(database, changes).create(job, json.load(sys.stdin), [thing])
    mqtt = paho.Client(CallbackAPIVersion.VERSION2, transport="unix")
    mqtt.connect(str(folder.broker_socket))
    mqtt.loop_start()
    for topic, payload in told:
        mqtt.publish(topic, payload, qos=1).wait_for_publish(10.0)
    mqtt.disconnect()
    mqtt.loop_stop()


def wait(folder: DataFolder, job: JobId, thing: ThingName) -> None:
    """Wait for the last word of the thing, and print it."""
    with closing(Database(folder.database)) as database:
        jobs = Jobs(database, ThingChanges(database, lambda *_: None))
        while not (execution := jobs.execution(job, thing)).status.is_terminal:
            time.sleep(0.05)
    json.dump({"status": execution.status.value, **execution.details}, sys.stdout)


def main() -> None:
    """Do what the command line says."""
    state, what, job, thing = sys.argv[1:]
    do = {"create": create, "wait": wait}[what]
    do(DataFolder(Path(state)), JobId(job), ThingName(thing))


if __name__ == "__main__":
    main()
