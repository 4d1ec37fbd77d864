"""A real OPeNDAP server on loopback: pydap's, over arrays in memory, counted and without threads left behind.

pydap's own netCDF handler answers subsets wrongly; its protocol is served here over plain arrays, each cut as asked.
``time`` and the other one-dimensional variables are arrays of their own, fields are grids, as THREDDS serves them.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import netCDF4
import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # WebOb imports cgi
    from pydap.handlers.lib import BaseHandler
    from pydap.model import BaseType, DatasetType, GridType


Edit = Callable[[str, np.ndarray], np.ndarray]
"""What is done to the packed values of a variable, by its name, before they are served."""


def as_it_is(name: str, values: np.ndarray) -> np.ndarray:
    """Nothing is done."""
    return values


def dataset(
    path: Path, name: str, fields: tuple[str, ...], *, time: str = "time", edit: Edit = as_it_is,
    steps: slice | list[int] = slice(None),
) -> DatasetType:  # fmt: skip
    """The fields of a netCDF file, packed as there, at some of its steps; their time axis is called ``time``."""
    served = DatasetType(name)
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        renamed = {"time": time}
        axes = {}
        for axis in filter(file.variables.__contains__, ("time", "depth", "lat", "lon")):
            dim = renamed.get(axis, axis)
            values = _values(file[axis])[steps] if axis == "time" else _values(file[axis])
            axes[dim] = BaseType(dim, values, dims=(dim,), attributes=_attributes(file[axis]))
        for dim, values in axes.items():
            if dim != "depth" or set(fields) != {"surf_el"}:
                served[dim] = values
        if "tau" in file.variables:
            served["tau"] = BaseType(
                "tau", _values(file["tau"])[steps], dims=(time,), attributes=_attributes(file["tau"])
            )
        for field in fields:
            dims = tuple(renamed.get(dim, dim) for dim in file[field].dimensions)
            attributes = _attributes(file[field])
            grid = GridType(field, attributes=attributes)
            grid[field] = BaseType(field, edit(field, _values(file[field])[steps]), dims=dims, attributes=attributes)
            for dim in dims:
                grid[dim] = BaseType(dim, axes[dim].data, dims=(dim,), attributes=axes[dim].attributes)
            served[field] = grid
    return served


class Catalogue:
    """Datasets by their paths, as a WSGI application; what is not there is 404. May be changed while it serves."""

    def __init__(self) -> None:
        self.datasets: dict[str, DatasetType] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"].lstrip("/").rpartition(".")[0]
        if path not in self.datasets:
            start_response("404 Not Found", [("Content-Type", "text/html")])
            return [b"<html><h1>Not Found</h1></html>"]
        return BaseHandler(self.datasets[path])(environ, start_response)


@contextmanager
def serving(catalogue: Catalogue) -> Iterator[str]:
    """The address of a server of the catalogue."""
    server = make_server("127.0.0.1", 0, catalogue, _Server, _Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def _values(variable: netCDF4.Variable) -> np.ndarray:
    values = np.ascontiguousarray(variable[:])
    return values.astype(values.dtype.newbyteorder("="))


def _attributes(variable: netCDF4.Variable) -> Mapping[str, Any]:
    return {name: variable.getncattr(name) for name in variable.ncattrs()}
