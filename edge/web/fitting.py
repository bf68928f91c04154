"""A configuration that the pages start with; asked by edge-web itself, and before by whoever changes it."""

from __future__ import annotations

from edge.settings import SettingsError, Web
from edge.web.languages import UnknownLanguageError, load


def fitting(web: Web) -> None:
    """What edge-web asks of the configuration before it starts.

    Raises:
        SettingsError: it does not start with it.
    """
    if web.readers == "anyone" and web.host not in ("127.0.0.1", "::1"):
        raise SettingsError('web.readers = "anyone" goes with host = "127.0.0.1" only')
    try:
        load(web.languages)
    except UnknownLanguageError as error:
        raise SettingsError(str(error)) from error
