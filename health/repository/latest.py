"""The latest observations of each kind, as `$lastn` groups them."""

from health.criteria import Criteria
from health.reaching import Reach
from health.repository.compartment import columns
from health.repository.leading import leading
from health.repository.reach import Args, shown
from health.repository.search import meant
from services.kit.database import Connection, Row

# What an Observation is of: its codings, or its text where it has none.
_CODES = """coalesce(
    nullif(array(
        select distinct jsonb_build_array(coding ->> 'system', coding ->> 'code')::text
        from json_array_elements(body::json #> '{code,coding}') coding
        where coding ->> 'code' is not null order by 1), '{}'),
    array[body::json #>> '{code,text}'])"""


async def latest(db: Connection, reach: Reach, criteria: Criteria, *, most: int, limit: int) -> list[Row]:
    """Of each patient and each set of codings the latest Observations that are meant, the latest first:
    `codes`, `occurred`, and as of `columns`. More than `most` are of one set only where several happened at
    once.
    """
    args, order = Args(), "order by m.occurred desc, m.pk desc"
    rows = meant(reach, criteria, await leading(db, reach, criteria), args)
    return await db.fetch(
        f"""select {columns(reach, args, order)}, grouped.codes, m.occurred
            from (select coded.*, rank() over (partition by pt, codes order by occurred desc) as nth
                  from (select pk, pt, occurred, {_CODES} as codes
                        from (select m.pk, m.pt, m.occurred, {shown(reach, args, "m")} as body
                              from ({rows}) s join resource m on m.pk = s.pk) bodies) coded) grouped
            join resource m on m.pk = grouped.pk
            where grouped.nth <= {args(most)} {order} limit {args(limit)}""",
        *args.values,
    )
