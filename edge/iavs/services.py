"""All services together, as one ASGI application over one gallery."""

from __future__ import annotations

from starlette.types import ASGIApp

from edge.iavs.aggregates import Aggregates
from edge.iavs.catalogue import catalogue
from edge.iavs.comparing import Comparing
from edge.iavs.desk import Desk
from edge.iavs.door import Access, Door
from edge.iavs.fusion import Calibration
from edge.iavs.mosip import Mosip
from edge.iavs.osia import Osia
from edge.iavs.results import Results
from edge.iavs.subjects import Handler, Subjects


class Services:
    """Handlers of all services, and the door before them.

    Attributes:
        handlers: by name.
        results: what goes on in the background.
        door: the application.
    """

    def __init__(
        self,
        desk: Desk,
        access: Access,
        *,
        calibrations: dict[str, Calibration] | None = None,
        results: Results | None = None,
    ) -> None:
        worth = calibrations or {}
        subjects = Subjects(desk)
        comparing = Comparing(desk, worth)
        aggregates = Aggregates(desk, catalogue(), subjects, comparing)
        self.handlers: dict[str, Handler] = subjects.handlers() | comparing.handlers() | aggregates.handlers()
        self.results = results or Results()
        facades: dict[str, ASGIApp] = {each.prefix: each(self.handlers, access) for each in (Mosip, Osia)}
        self.door = Door(catalogue(), self.handlers, access, self.results, desk.version, facades)
