"""Read by every Python that has this folder in PYTHONPATH: it knows the small sea, as a service's processes must.

``SMALL_SEA_MASKS``: the folder of its masks. ``SMALL_SEA_FIRED``: when its schedule fired last, for 2023-01-01
(``small_goms.fired``); ``late-sea`` is the same with one whose cycles are long past. A model is pinned to them, since
without one they would not be deployed; what runs is asked for persistence.

``SMALL_SEA_STOPS``: a file that may hold the name of a point (``kill_points.py``); processes that begin while it is
there stop at that point.
"""

import os
from datetime import datetime
from pathlib import Path

if "SMALL_SEA_MASKS" in os.environ:
    import small_goms

    from pipeline import systems
    from pipeline.systems import Schedule

    fired = datetime.fromisoformat(os.environ["SMALL_SEA_FIRED"])
    days = (fired.date() - small_goms.START.date()).days
    half_a_day_on = (fired - small_goms.START).total_seconds() / 3600 + 12.0
    schedule = Schedule(cron=f"{fired.minute} {fired.hour} * * *", days_back=days, reason="the day there are files of",
                        publish_by_hours=half_a_day_on, skip_after_hours=half_a_day_on)  # fmt: skip
    small_goms.SMALL_SEA = small_goms.SMALL_SEA.model_copy(
        update={"schedule": schedule, "checkpoint": systems.TWIN.checkpoint}
    )
    late = schedule.model_copy(update={"skip_after_hours": 72.0})
    small_goms.install(Path(os.environ["SMALL_SEA_MASKS"]))
    systems.SYSTEMS = (*systems.SYSTEMS,
                       small_goms.SMALL_SEA.model_copy(update={"name": "late-sea", "schedule": late}))  # fmt: skip

    stops = Path(os.environ.get("SMALL_SEA_STOPS", os.devnull))
    if stops.is_file():
        import kill_points

        kill_points.arm(kill_points.point(stops.read_text()), kill_points.signal.SIGSTOP)
