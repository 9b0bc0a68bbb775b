"""The commands about what a lens is: model, parameters, lens-light."""

from pathlib import Path
from typing import Annotated

import typer

from lensweep.commands.options import Run
from lensweep.ground.files import place
from lensweep.ground.terminal import say

# What takes long to import is imported where it is used: `--help` answers at once.

commands = typer.Typer()

Network = Annotated[str, typer.Option(help="Shipped network of lens parameters, or a folder.")]
SHIPPED = "lens-parameters"
Seed = Annotated[int, typer.Option(help="The same seed, the same numbers.")]
Simulated = Annotated[Path, typer.Option(help="Folder of lensweep simulate, with lenses.")]


@commands.command("model")
def model_command(
    run: Run,
    network: Network = SHIPPED,
    top: Annotated[int, typer.Option(help="As many of the first candidates.")] = 500,
) -> None:
    """Estimate Einstein radius, ellipticity and centre of a run's candidates, with errors.

    As if each were a lens: what is none gets numbers too. They lie beside the catalogue, and
    exports have them.
    """
    from lensweep.commands.show_models import show_models
    from lensweep.ground.progress import open_progress
    from lensweep.scanner.results.modelling import model_candidates
    from lensweep.scanner.run.paths import RunPaths

    with open_progress() as progress:
        table = model_candidates(place(run), network, top, progress)
    show_models(table)
    say(f"wrote {RunPaths(place(run)).models}")


parameters_app = typer.Typer(help="Networks of lens parameters.", no_args_is_help=True)
commands.add_typer(parameters_app, name="parameters")


@parameters_app.command("train")
def train_parameters_command(
    out: Annotated[Path, typer.Argument(help="Folder of the network; repeat to continue.")],
    data: Annotated[
        list[Path], typer.Option(help="Folder of lensweep simulate, with lenses; repeatable.")
    ],
    n: Annotated[int | None, typer.Option(help="As many of the first lenses.")] = None,
    epochs: Annotated[int, typer.Option(help="Times that lenses are seen.")] = 18,
    seed: Seed = 2018,
) -> None:
    """Train a network of lens parameters on simulated lenses."""
    from lensweep.ground.kept_progress import keep_progress
    from lensweep.training.published.lens_parameters import LensParameterRegressor
    from lensweep.training.published.parameter_training import train_parameters

    regressor = LensParameterRegressor(epochs=epochs, seed=seed)
    with keep_progress(out) as progress:
        train_parameters(data, out, regressor, progress, n)
    say(f"wrote {out}")


@parameters_app.command("check")
def check_parameters_command(
    data: Simulated,
    network: Network = SHIPPED,
) -> None:
    """Measure a network of lens parameters on simulated lenses that it was not trained on."""
    from lensweep.commands.show_models import show_check
    from lensweep.training.published.parameter_training import check_parameters

    show_check(check_parameters(network, data))


@commands.command("lens-light")
def lens_light_command(
    bands: Annotated[
        list[Path], typer.Argument(help="FITS image of a lens; several of one field are bands.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="FITS file of what is left, a plane per band.")
    ],
    x: Annotated[float | None, typer.Option(help="Column of the lens, from 0; the middle.")] = None,
    y: Annotated[float | None, typer.Option(help="Row of the lens, from 0; the middle.")] = None,
    seed: Seed = 2018,
) -> None:
    """Take the light of a lens away: independent components of bands, or ellipses in one band."""
    from lensweep.training.published.lens_light import remove_from_files

    remove_from_files(bands, out, x, y, seed)
    say(f"wrote {out}")
