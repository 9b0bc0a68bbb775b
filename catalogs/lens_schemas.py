"""The columns of the tables of known lenses: lists of them, their matches, and what a run saw."""

import pyarrow as pa

from lensweep.catalogs.schemas import Column

# fmt: off
KNOWN_COLUMNS = (
    Column("catalogue", pa.string(), "", "meta.id;meta.dataset",
           "CASTLES, LensFlow, Faure2008, lenscat, or the name of the list's file."),
    Column("catalogue_row", pa.int64(), "", "meta.record",
           "Data row in the list, counted from 0."),
    Column("known_name", pa.string(), "", "meta.id",
           "Name in the list; `(row n)` follows a name that several of its rows have."),
    Column("known_ra_deg", pa.float64(), "deg", "pos.eq.ra",
           "Right ascension as listed, ICRS or J2000."),
    Column("known_dec_deg", pa.float64(), "deg", "pos.eq.dec",
           "Declination as listed, ICRS or J2000."),
    Column("match_radius_arcsec", pa.float64(), "arcsec", "pos.angDistance;stat.max",
           "Farthest that a candidate may lie that is this lens, unless another radius is asked"
           " for: an arcsecond for the mosaic's astrometry, the error of the listed position, and"
           " half the separation of the images; 3 where the list gives neither."),
    Column("grade", pa.string(), "", "meta.code.class",
           "Grade as listed; null if the list has none.", True),
    Column("grade_scheme", pa.string(), "", "meta.note",
           "Whose grades these are. Grades of different schemes cannot be compared.", True),
    Column("z_lens", pa.float64(), "", "src.redshift",
           "Lens redshift; null where none is listed, several are, or one with a mark.", True),
    Column("z_lens_listed", pa.string(), "", "meta.note",
           "What the list says of the lens redshift, word by word.", True),
    Column("kind", pa.string(), "", "src.class", "galaxy, group or cluster, if listed.", True),
    Column("reference", pa.string(), "", "meta.bib", "Paper or source of the row.", True),
)

MATCH_COLUMNS = (
    Column("row", pa.int64(), "", "meta.record", "Row of the position, counted from 0."),
    Column("name", pa.string(), "", "meta.id;meta.main",
           "Name of the position, or the candidate's; null if it has none.", True),
    Column("rank", pa.int64(), "", "stat.rank", "Rank of the candidate, if it is one.", True),
    Column("ra_deg", pa.float64(), "deg", "pos.eq.ra;meta.main", "Right ascension, ICRS."),
    Column("dec_deg", pa.float64(), "deg", "pos.eq.dec;meta.main", "Declination, ICRS."),
    *KNOWN_COLUMNS,
    Column("separation_arcsec", pa.float64(), "arcsec", "pos.angDistance",
           "Great-circle distance between the position and the known lens."),
    Column("nearest", pa.bool_(), "", "meta.code",
           "Whether it is the nearest of its catalogue to the position."),
    Column("n_lenses", pa.int32(), "", "meta.number",
           "Lenses of this catalogue within the radius of the position."),
    Column("n_positions", pa.int32(), "", "meta.number",
           "Positions within the radius of this lens."),
)

RECALL_COLUMNS = (
    *KNOWN_COLUMNS,
    Column("observed", pa.bool_(), "", "meta.code",
           "Whether the lens lies in the run's footprint, in a window that was scored or"
           " screened."),
    Column("mosaic", pa.string(), "", "meta.id;meta.file", "Mosaic of its best window.", True),
    Column("window", pa.int64(), "", "meta.record",
           "Its best window: of those that hold its position the one with the highest mean logit;"
           " if all were screened, the first of them.", True),
    Column("offset_arcsec", pa.float64(), "arcsec", "pos.angDistance",
           "Distance of the lens from that window's centre.", True),
    Column("logit_mean", pa.float32(), "", "stat.value;stat.mean",
           "Mean of the members' logits for that window, uncalibrated; null if it was screened.",
           True),
    Column("p_mean", pa.float32(), "", "stat.probability;stat.mean",
           "Mean of the members' probabilities for it, uncalibrated; null if it was screened.",
           True),
    Column("window_rank", pa.int64(), "", "stat.rank",
           "1 plus the number of the run's windows with a higher mean logit; null if it was"
           " screened.", True),
    Column("is_candidate", pa.bool_(), "", "meta.code",
           "Whether a candidate lies within the match radius."),
    Column("rank", pa.int64(), "", "stat.rank", "Rank of the first such candidate.", True),
    Column("candidate_id", pa.string(), "", "meta.id.cross", "Its name.", True),
    Column("separation_arcsec", pa.float64(), "arcsec", "pos.angDistance",
           "Its distance from the lens.", True),
)
# fmt: on

KNOWN = pa.schema([column.field() for column in KNOWN_COLUMNS])
MATCHES = pa.schema([column.field() for column in MATCH_COLUMNS])
RECALL = pa.schema([column.field() for column in RECALL_COLUMNS])
