"""The columns of every Parquet table that lensweep writes: type, unit, UCD and meaning.

UCDs are words of the IVOA's UCD1+ list (ivoa.net/documents/UCD1+); units are VOUnits, empty for
numbers without one.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PROVENANCE_PREFIX = "lensweep."


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name : str
        Column name; units are in the name where there is one.
    arrow_type : pyarrow.DataType
        Type on disk.
    unit : str
        VOUnit, or empty.
    ucd : str
        UCD1+ words joined by ``;``.
    description : str
        One or two sentences.
    nullable : bool
        Whether a row may lack a value; writing a null to any other column is an error.
    """

    name: str
    arrow_type: pa.DataType
    unit: str
    ucd: str
    description: str
    nullable: bool = False

    def field(self) -> pa.Field:
        """Return the Arrow field, with ``unit``, ``ucd`` and ``description`` as its metadata."""
        metadata = {"unit": self.unit, "ucd": self.ucd, "description": self.description}
        return pa.field(self.name, self.arrow_type, nullable=self.nullable, metadata=metadata)


_P_STD = (
    "Standard deviation of the members' uncalibrated probabilities. The spread measures what"
    " training on other folds and, after a second look, turning the cutout change; it is not the"
    " error of p_lens."
)
_WINDOW = "Index of the window in the run's cutout store, within its mosaic."
_MOSAIC = "Name of the mosaic."

# fmt: off
CANDIDATE_COLUMNS = (
    Column("rank", pa.int32(), "", "stat.rank", "1 for the highest logit_mean."),
    Column(
        "candidate_id", pa.string(), "", "meta.id;meta.main",
        "LSWP JHHMMSS.ss+DDMMSS.s, ICRS position truncated (not rounded) as the IAU asks; a"
        " letter is appended where two candidates would share a name.",
    ),
    Column("ra_deg", pa.float64(), "deg", "pos.eq.ra;meta.main",
           "ICRS right ascension, in [0, 360): of the light's peak in the best window of a grid"
           " scan, or of that window's centre."),
    Column("dec_deg", pa.float64(), "deg", "pos.eq.dec;meta.main",
           "ICRS declination of the same."),
    Column(
        "p_lens", pa.float64(), "", "stat.probability;meta.main",
        "Probability that the candidate is a lens: at the density of lenses that the file metadata"
        " state, from the scores of lenses planted in fields and of fields without lenses. Null"
        " where the ensemble was not measured on fields.", True,
    ),
    Column("false_per_deg2", pa.float64(), "deg**-2", "stat.value",
           "Candidates at least this good that a square degree without lenses would give.", True),
    Column("expected_purity", pa.float64(), "", "stat.probability;stat.mean",
           "Share of lenses to expect in the list down to this rank: mean p_lens.", True),
    Column("expected_purity_low", pa.float64(), "", "stat.probability;stat.min",
           "Low end of the 95 % interval of that share, at the stated density.", True),
    Column("expected_purity_high", pa.float64(), "", "stat.probability;stat.max",
           "High end of the same.", True),
    Column("extrapolated", pa.bool_(), "", "meta.code",
           "Whether fewer than ten false candidates of the fields scored as high: p_lens and"
           " false_per_deg2 then follow a fitted tail.", True),
    Column("p_mean", pa.float32(), "", "stat.probability;stat.mean",
           "Mean of the members' probabilities, neither calibrated nor shifted to a prior."),
    Column("p_std", pa.float32(), "", "stat.stdev;stat.probability", _P_STD),
    Column("logit_mean", pa.float32(), "", "stat.value;stat.mean",
           "Mean of the members' logits, uncalibrated; the ranking follows it, since probabilities"
           " near 0 and 1 saturate."),
    Column("n_members", pa.int16(), "", "meta.number", "Number of ensemble members that scored."),
    Column("n_windows", pa.int32(), "", "meta.number",
           "Number of overlapping windows merged into this candidate, itself included."),
    Column("valid_fraction", pa.float32(), "", "stat.filling",
           "Fraction of the best window's pixels that hold data, 0 to 1."),
    Column("mosaic", pa.string(), "", "meta.id;meta.file", "Name of the best window's mosaic."),
    Column("x_pix", pa.float64(), "pixel", "pos.cartesian.x;instr.pixel",
           "Column of the position in the mosaic's own pixels; the first pixel's centre is 0."),
    Column("y_pix", pa.float64(), "pixel", "pos.cartesian.y;instr.pixel",
           "Row of the position in the mosaic's own pixels; the first pixel's centre is 0."),
    Column("window", pa.int64(), "", "meta.record",
           "Index of the best window in the run's cutout store, within its mosaic."),
    Column("castles_name", pa.string(), "", "meta.id.cross",
           "Nearest CASTLES system within the match radius; null if there is none.", True),
    Column("castles_separation_arcsec", pa.float64(), "arcsec", "pos.angDistance",
           "Distance from that CASTLES position.", True),
    Column("lensflow_id", pa.int16(), "", "meta.id.cross",
           "Nearest of the 92 LensFlow candidates (Pourrahmani et al. 2018) within the match"
           " radius, 1 to 92; null if there is none.", True),
    Column("lensflow_grade", pa.string(), "", "meta.code.class",
           "Published LensFlow grade A, B or C. Null in every row until `lensweep catalogs update`"
           " has fetched the grades, which are not in the shipped catalogue.", True),
    Column("lensflow_confidence", pa.string(), "", "meta.code.qual",
           "lenscat's two-level grading of that LensFlow candidate: confident or probable.", True),
    Column("lensflow_separation_arcsec", pa.float64(), "arcsec", "pos.angDistance",
           "Distance from that LensFlow position.", True),
)

LEDGER_COLUMNS = (
    Column("mosaic", pa.string(), "", "meta.id;meta.file", _MOSAIC),
    Column("shard", pa.int32(), "", "meta.record", "Shard of the window, within its mosaic."),
    Column("window", pa.int64(), "", "meta.record", _WINDOW),
    Column("x0", pa.int32(), "pixel", "pos.cartesian.x;instr.pixel",
           "First column of the window on the scanning grid; may lie outside the image."),
    Column("y0", pa.int32(), "pixel", "pos.cartesian.y;instr.pixel",
           "First row of the window on the scanning grid; may lie outside the image."),
    Column("ra_deg", pa.float64(), "deg", "pos.eq.ra;meta.main",
           "ICRS right ascension of what the window is for: its centre, or the source or listed"
           " position nearest to its centre."),
    Column("dec_deg", pa.float64(), "deg", "pos.eq.dec;meta.main",
           "ICRS declination of the same."),
    Column("state", pa.string(), "", "meta.code.status",
           "What became of the window: scored, screened (looked at, and passed over), masked or"
           " failed."),
    Column("reason", pa.string(), "", "meta.note",
           "Why the window was screened, masked or failed; null if it was scored.", True),
    Column("screen_logit", pa.float32(), "", "stat.value",
           "Logit of the ensemble's screen; null where it did not look.", True),
)

# A row for every row of a table of positions, in its order; the table's own columns follow.
TARGET_COLUMNS = (
    Column("row", pa.int64(), "", "meta.record",
           "Row of the table that was given, counted from 0."),
    Column("target_id", pa.string(), "", "meta.id;meta.main",
           "Name or ID of the target in that table, as text; null if it has none.", True),
    Column("ra_deg", pa.float64(), "deg", "pos.eq.ra;meta.main",
           "ICRS right ascension that was asked for."),
    Column("dec_deg", pa.float64(), "deg", "pos.eq.dec;meta.main",
           "ICRS declination that was asked for."),
    Column("state", pa.string(), "", "meta.code.status",
           "What became of the target: scored, screened (looked at, and passed over), masked, off"
           " the mosaic or failed."),
    Column("reason", pa.string(), "", "meta.note",
           "Why it was not scored; null if it was.", True),
    Column("n_mosaics", pa.int32(), "", "meta.number",
           "Number of the run's mosaics that hold the position. What follows is of the one that"
           " serves it best: scored before screened, masked and failed, and of several scores the"
           " highest."),
    Column("mosaic", pa.string(), "", "meta.id;meta.file",
           "Name of that mosaic; null if none holds the position.", True),
    Column("window", pa.int64(), "", "meta.record", _WINDOW, True),
    Column("x_pix", pa.float64(), "pixel", "pos.cartesian.x;instr.pixel",
           "Column of the position in the mosaic's own pixels; the first pixel's centre is 0.",
           True),
    Column("y_pix", pa.float64(), "pixel", "pos.cartesian.y;instr.pixel",
           "Row of the position in the mosaic's own pixels; the first pixel's centre is 0.", True),
    Column("valid_fraction", pa.float32(), "", "stat.filling",
           "Fraction of the window's pixels that hold data, 0 to 1.", True),
    Column("p_lens", pa.float64(), "", "stat.probability",
           "Probability that the target is a lens, as of a candidate of that score: at the density"
           " of lenses that the file metadata state.", True),
    Column("false_per_deg2", pa.float64(), "deg**-2", "stat.value",
           "Candidates at least this good that a square degree without lenses would give.", True),
    Column("extrapolated", pa.bool_(), "", "meta.code",
           "Whether fewer than ten false candidates of the fields scored as high: p_lens and"
           " false_per_deg2 then follow a fitted tail.", True),
    Column("p_mean", pa.float32(), "", "stat.probability;stat.mean",
           "Mean of the members' probabilities, neither calibrated nor shifted to a prior.", True),
    Column("p_std", pa.float32(), "", "stat.stdev;stat.probability", _P_STD, True),
    Column("logit_mean", pa.float32(), "", "stat.value;stat.mean",
           "Mean of the members' logits, uncalibrated.", True),
    Column("n_members", pa.int16(), "", "meta.number",
           "Number of ensemble members that scored.", True),
    Column("screen_logit", pa.float32(), "", "stat.value",
           "Logit of the ensemble's screen; null where it did not look.", True),
    Column("candidate_rank", pa.int32(), "", "stat.rank",
           "Rank of the candidate that the target became; null if it is below the least score of"
           " a detection. Targets that lie together are one candidate, and share it.", True),
    Column("candidate_id", pa.string(), "", "meta.id.cross",
           "Name of that candidate.", True),
)

# What a bundle keeps of the fields that it was measured on, and a run of its own.
FIELD_SCORE_COLUMNS = (
    Column("centres", pa.string(), "", "meta.code",
           "How windows were placed: grid or sources."),
    Column("is_lens", pa.bool_(), "", "meta.code",
           "Whether it is a planted lens; else a merged candidate where there are none."),
    Column("kind", pa.string(), "", "src.class",
           "Kind of lens, or of what the false candidate lies on."),
    Column("seed", pa.int64(), "", "meta.id", "Seed of the field; 0 for a run's own mosaics."),
    Column("logit_mean", pa.float64(), "", "stat.value;stat.mean",
           "Best merged score; minus infinity for a lens that no candidate shows."),
    Column("weight", pa.float64(), "", "stat.weight", "How much it counts."),
    Column("theta_e_arcsec", pa.float64(), "arcsec", "phys.angSize",
           "Einstein radius; null without a lens.", True),
    Column("source_magnitude", pa.float64(), "mag", "phot.mag",
           "Of the source without its lens, AB; null without a lens.", True),
    Column("host_magnitude", pa.float64(), "mag", "phot.mag",
           "Of the lensing galaxy, AB; null without a lens.", True),
    Column("signal_to_noise", pa.float64(), "", "stat.snr",
           "Of the lensed images; null without a lens.", True),
)

# A stamp that cannot be read keeps its row: the numbers are null and the message says why.
SCORE_COLUMNS = (
    Column("file", pa.string(), "", "meta.id;meta.file",
           "File of the stamp, or of the array that holds it."),
    Column("index", pa.int64(), "", "meta.record",
           "Number of the stamp in its array, from 0; null if it is a file of its own.", True),
    Column("name", pa.string(), "", "meta.id",
           "What whoever made the array calls the stamp; null if nothing is said.", True),
    Column("p_lens", pa.float64(), "", "stat.probability;meta.main",
           "Probability that the stamp shows a lens, as of a candidate of that score in a field: at"
           " the density of lenses that the file metadata state, for windows placed as they state.",
           True),
    Column("false_per_deg2", pa.float64(), "deg**-2", "stat.value",
           "Candidates at least this good that a square degree without lenses would give.", True),
    Column("extrapolated", pa.bool_(), "", "meta.code",
           "Whether fewer than ten false candidates of the fields scored as high: p_lens and"
           " false_per_deg2 then follow a fitted tail.", True),
    Column("p_mean", pa.float32(), "", "stat.probability;stat.mean",
           "Mean of the members' probabilities, neither calibrated nor shifted to a prior.", True),
    Column("p_std", pa.float32(), "", "stat.stdev;stat.probability",
           _P_STD, True),
    Column("logit_mean", pa.float32(), "", "stat.value;stat.mean",
           "Mean of the members' logits, uncalibrated.", True),
    Column("valid_fraction", pa.float32(), "", "stat.filling",
           "Fraction of the stamp's pixels that hold data, 0 to 1.", True),
    Column("n_members", pa.int16(), "", "meta.number",
           "Number of ensemble members that scored.", True),
    Column("screen_logit", pa.float32(), "", "stat.value",
           "Score of the ensemble's screen, which decides whether a scan would look further; "
           "null if it has none.", True),
    Column("message", pa.string(), "", "meta.note",
           "Why the stamp has no score; null if it has one.", True),
)

_IF_A_LENS = "It means something only if the candidate is a lens."
# What a network of lens parameters says of candidates, beside the catalogue.
MODEL_COLUMNS = (
    Column("candidate_id", pa.string(), "", "meta.id;meta.main", "Name of the candidate."),
    Column("rank", pa.int32(), "", "stat.rank", "Of the candidate."),
    Column("mosaic", pa.string(), "", "meta.id;meta.file", _MOSAIC),
    Column("window", pa.int64(), "", "meta.record", _WINDOW),
    Column("theta_e_arcsec", pa.float64(), "arcsec", "phys.angSize",
           f"Einstein radius of a singular isothermal ellipsoid. {_IF_A_LENS}"),
    Column("theta_e_err_arcsec", pa.float64(), "arcsec", "stat.error;phys.angSize",
           "One standard deviation of theta_e_arcsec, such that 68 % of simulated lenses lie within"
           " it."),
    Column("ellipticity", pa.float64(), "", "src.ellipticity",
           "(1 - q) / (1 + q) of the mass' axis ratio q: the modulus of the two components."),
    Column("ellipticity_1", pa.float64(), "", "src.ellipticity",
           "Times the cosine of twice the angle of the major axis, counted from west to north."),
    Column("ellipticity_1_err", pa.float64(), "", "stat.error;src.ellipticity",
           "One standard deviation of ellipticity_1."),
    Column("ellipticity_2", pa.float64(), "", "src.ellipticity", "Times the sine of the same."),
    Column("ellipticity_2_err", pa.float64(), "", "stat.error;src.ellipticity",
           "One standard deviation of ellipticity_2."),
    Column("position_angle_deg", pa.float64(), "deg", "pos.posAng",
           "Of the mass' major axis, from north to east, in [0, 180)."),
    Column("lens_ra_deg", pa.float64(), "deg", "pos.eq.ra", "Of the mass' centre, ICRS."),
    Column("lens_dec_deg", pa.float64(), "deg", "pos.eq.dec", "Of the same."),
    Column("lens_position_err_arcsec", pa.float64(), "arcsec", "stat.error;pos.eq",
           "One standard deviation of that position, along either axis."),
)
# fmt: on

CANDIDATES = pa.schema([column.field() for column in CANDIDATE_COLUMNS])
LEDGER = pa.schema([column.field() for column in LEDGER_COLUMNS])
TARGETS = pa.schema([column.field() for column in TARGET_COLUMNS])
FIELD_SCORES = pa.schema([column.field() for column in FIELD_SCORE_COLUMNS])
SCORES = pa.schema([column.field() for column in SCORE_COLUMNS])
MODELS = pa.schema([column.field() for column in MODEL_COLUMNS])


def read_provenance(path: Path) -> dict[str, str]:
    """What `with_provenance` told a Parquet file; nothing if there is no whole file."""
    try:
        with path.open("rb") as file:
            return provenance_of(pq.read_schema(file))
    except (FileNotFoundError, pa.ArrowInvalid):
        return {}


def with_provenance(table: pa.Table, provenance: dict[str, str]) -> pa.Table:
    """Return the table with key-values added to its file metadata.

    Parameters
    ----------
    table : pyarrow.Table
        Rows; its own metadata is kept, except for the same keys.
    provenance : dict of str to str
        Facts such as versions, ensemble hash and prior; stored as ``lensweep.<key>``.

    Returns
    -------
    pyarrow.Table
        The same rows and columns.
    """
    added = {
        f"{PROVENANCE_PREFIX}{key}".encode(): text.encode() for key, text in provenance.items()
    }
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **added})


def provenance_of(schema: pa.Schema) -> dict[str, str]:
    """The key-values that `with_provenance` added to a table's metadata."""
    prefix = PROVENANCE_PREFIX.encode()
    return {
        key.removeprefix(prefix).decode(): text.decode()
        for key, text in (schema.metadata or {}).items()
        if key.startswith(prefix)
    }
