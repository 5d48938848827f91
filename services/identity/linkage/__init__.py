"""Record linkage: which records are of one person, by the weight of what agrees and what does not.

The method is Fellegi and Sunter's (JASA 64, 1969): each comparison falls into a level, each level weighs
log2(m / u), where m is how often it is seen in records of one person and u in records of two. The model is
data (`knowledge/linkage/*.json`): `load` it, make `Features` of two records, `score` them, ask for the
`verdict`. The same model runs over millions of records in `batch`, through Splink on DuckDB.
"""

from services.identity.linkage.features import Features, blocking_keys
from services.identity.linkage.model import Model, Verdict, load
from services.identity.linkage.scoring import score
from services.identity.linkage.weights import Part, Weight

__all__ = ["Features", "Model", "Part", "Verdict", "Weight", "blocking_keys", "load", "score"]
