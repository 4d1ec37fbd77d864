"""Commands for those who read forecasts: prove that one is whole, take it home in another format, gather them all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import Debug, StoreUri, SystemName
from flows.sentences import sentences

OneOf = Annotated[
    str | None, typer.Option("--system", "-s", help="Which system, where there are several.", metavar="NAME")
]
OwnKeys = Annotated[bool, typer.Option("--own-keys", help="Ask S3 with this machine's AWS keys, not as anybody.")]
CycleKey = Annotated[
    str | None,
    typer.Option("--cycle", help="This start and not the latest: YYYY-MM-DD or YYYYMMDDTHH.", metavar="DATE"),
]


def check(
    where: Annotated[
        str,
        typer.Argument(
            metavar="[WHERE]",
            help="A store, a system in it or an edition (s3://, https://, a folder), or a DATE of GOMS_STORE.",
        ),
    ] = "latest",
    system: OneOf = None,
    cycle: CycleKey = None,
    public_key: Annotated[
        str | None, typer.Option(help="Who must have signed it: a PEM file or 64 hexadecimal digits.", metavar="KEY")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Presence and sizes alone; nothing is read.")] = False,
    bytes_only: Annotated[
        bool, typer.Option("--bytes-only", help="Every byte is compared; missing values are not counted again.")
    ] = False,
    own_keys: OwnKeys = False,
    store: StoreUri = None,
    debug: Debug = False,
) -> None:
    """Prove that a published forecast is whole, or say exactly what is missing or altered (exit 6)."""
    with sentences(debug):
        from flows.desk import readers

        found = readers.found(where, system, cycle, store, own_keys=own_keys)
        readers.check(found, public_key, quick=quick, values=not bytes_only)


def export(
    product: Annotated[str, typer.Argument(metavar="PRODUCT", help="ocean, waves, biogeochemistry or kuroshio.")],
    where: Annotated[
        str,
        typer.Argument(
            metavar="[WHERE]", help="A DATE of GOMS_STORE, or an address as of goms check; else the latest."
        ),
    ] = "latest",
    system: OneOf = None,
    cycle: CycleKey = None,
    out: Annotated[
        Path | None, typer.Option(help="The file or folder to write; else named after the product.", metavar="PATH")
    ] = None,
    layout: Annotated[
        str, typer.Option("--format", help="netcdf, zarr2 (unsharded Zarr v2) or oceanbench (Zarr v2).")
    ] = "netcdf",
    variables: Annotated[str | None, typer.Option(help="Names by comma; else all.", metavar="NAMES")] = None,
    box: Annotated[
        str | None, typer.Option(help="SOUTH,NORTH,WEST,EAST in degrees; may cross the meridian.", metavar="BOX")
    ] = None,
    depths: Annotated[
        str | None, typer.Option(help="Metres by comma: the product's own depths; or FROM:TO.", metavar="DEPTHS")
    ] = None,
    leads: Annotated[str | None, typer.Option(help="Lead days by comma, or FROM:TO.", metavar="DAYS")] = None,
    own_keys: OwnKeys = False,
    store: StoreUri = None,
    debug: Debug = False,
) -> None:
    """Write a published product, or a part of it, in a format that other tools read."""
    with sentences(debug):
        from flows.desk import readers

        found = readers.found(where, system, cycle, store, own_keys=own_keys)
        readers.export(found, product, layout, out, readers.subset(variables, box, depths, leads))


def collect(
    out: Annotated[
        str, typer.Option("--out", help="The archive: a folder or s3://bucket/prefix, one for a system.", metavar="URL")
    ],
    where: Annotated[
        str, typer.Argument(metavar="[WHERE]", help="A store or a system in it (s3://, a folder); else GOMS_STORE.")
    ] = "",
    system: OneOf = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Keep the values themselves; else where they are published.")
    ] = False,
    own_keys: OwnKeys = False,
    debug: Debug = False,
) -> None:
    """All published forecasts as one archive (Icechunk): new ones are taken, withdrawn ones marked; run it daily."""
    with sentences(debug):
        from flows.desk import collecting

        collecting.collect(where, out, system, copy=copy, own_keys=own_keys)


def view(
    system: OneOf = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Answer browsers on this machine until Ctrl-C; nothing private is served.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to serve on; 0: any that is free.")] = 0,
    store: StoreUri = None,
    debug: Debug = False,
) -> None:
    """Say where the page to look at lies, or serve it and what it reads on this machine."""
    with sentences(debug):
        from flows.desk import viewing

        viewing.show(system, store, serve=serve, port=port)


def catalogue(system: SystemName = "twin", store: StoreUri = None, debug: Debug = False) -> None:
    """Make the STAC catalogue and the feed say what is published: after a loss, or when someone changed the store.

    Runs and housekeeping do it by themselves. Nothing but the catalogue is written.
    """
    with sentences(debug):
        from flows.desk import readers

        readers.catalogue(system, store)
