"""False candidates of networks on simulated fields without lenses, scanned as a survey scans."""

import json
from pathlib import Path

import numpy as np
from distributed import Client

from lensweep.ground.asked import first_change
from lensweep.ground.atomic import write_json
from lensweep.ground.errors import InputError
from lensweep.ground.files import remove_folder
from lensweep.ground.progress import Progress
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.training.comparison.kept import FITTED
from lensweep.training.comparison.run import Comparison
from lensweep.training.comparison.settings import ComparisonSettings
from lensweep.training.evaluation.survey import open_survey, run_survey
from lensweep.training.evaluation.survey_report import poisson_interval
from lensweep.training.evaluation.survey_request import SurveyConfig
from lensweep.training.published.finder_store import load_finder
from lensweep.training.published.members import write_finder_bundle

COUNTED = "fields.json"
# Of the first field; no seed of a training set.
_SEED = 600001
_CENTRES = "grid"


def check_counted(settings: ComparisonSettings, out: Path) -> None:
    """Refuse to mix counts on some fields with counts on others.

    Raises
    ------
    InputError
        If finders were counted on more, fewer or other fields.
    """
    asked = {"fields": settings.fields, "field_px": settings.field_px}
    for path in sorted(out.glob(f"*/{COUNTED}")):
        counted = json.loads(path.read_text())
        change = first_change({key: counted[key] for key in asked}, asked)
        if change is not None:
            raise InputError(
                f"{path}: counted with {change.key} = {change.was}, now {change.now}; give that "
                "again, or another --out"
            )


def count_on_fields(
    settings: ComparisonSettings,
    comparison: Comparison,
    out: Path,
    client: Client,
    progress: Progress,
) -> None:
    """Scan fields with every network that was kept, the one of the first fold; count and keep.

    Parameters
    ----------
    settings : ComparisonSettings
    comparison : Comparison
    out : Path
        Of the comparison.
    client : distributed.Client
    progress : Progress
    """
    for name in comparison.scores:
        folder = out / name
        if (folder / COUNTED).is_file():
            continue
        if not (folder / FITTED).is_dir():
            progress.note(f"{name}: not counted on fields, for no network of it was kept; only one "
                          "that is fitted with --fields is")  # fmt: skip
            continue
        first = comparison.scores[name][0].held_out
        others = first[~comparison.stamps.labels[comparison.folds == 0]]
        kept = folder / "survey"
        if kept.is_dir():
            # Written again it would have another hash: layers are numbered through a process.
            bundle = check_bundle(str(folder / name))
        else:
            remove_folder(folder / name)
            bundle = write_finder_bundle(
                folder / name, {f"{name}-fold0": load_finder(folder / FITTED)}, others,
                comparison.parameters[name],
            )  # fmt: skip
        # A survey plants one lens at least.
        asked = SurveyConfig(bundle.folder, settings.fields, _SEED, settings.field_px, 1,
                             (_CENTRES,))  # fmt: skip
        survey = run_survey(asked, open_survey(asked, kept), kept, client, progress)
        scores = survey.candidates[_CENTRES]["logit_mean"].to_numpy(np.float64)
        area = float(survey.facts["area_deg2"].sum())
        above = int((scores >= bundle.description.thresholds["fpr_0.01"]).sum())
        counted = {"fields": settings.fields, "field_px": settings.field_px}
        write_json(folder / COUNTED, {**counted, "area_deg2": area, "above": above})


def read_counted(out: Path, names: list[str]) -> dict[str, tuple[float, float, float]]:
    """Candidates per square degree above the 1 % score, of the finders that were counted.

    Returns
    -------
    dict of str to tuple
        How many, and the ends of its 95 % interval.
    """
    found = {}
    for name in names:
        path = out / name / COUNTED
        if path.is_file():
            counted = json.loads(path.read_text())
            low, high = poisson_interval(counted["above"])
            numbers = np.array([counted["above"], low, high]) / counted["area_deg2"]
            found[name] = tuple(numbers.tolist())
    return found
