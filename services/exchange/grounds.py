"""What agreements and open data stand on: a dataset that is offered, is shared, and has the agreed items.

When the catalogue hears otherwise, all that stood on it falls in the same commit: agreements are suspended
until the provider resumes them, releases withdrawn, exports ended (国发〔2016〕51号 第九条).
"""

from services.exchange.open_data import products
from services.exchange.repository import agreements as repository
from services.exchange.repository import open_data
from services.kit.database import Row, Transaction
from services.kit.problems import conflict

ITSELF = "service:exchange"
_WORDS = {
    "dataset_withdrawn": ("提供方不再提供该数据集", "its provider no longer offers the dataset"),
    "not_shared": ("该数据集已列为不予共享", "the dataset is not shared any more"),
    "agreement_mismatch": ("数据集不再有约定的信息项", "the dataset no longer has what was agreed"),
}


def reason(agreement: Row) -> str:
    """Why its dataset does not carry an agreement, in both languages; `lack` is the code."""
    zh, en = _WORDS[agreement["lack"]]
    which = ", ".join(one for one in agreement["lacking"] if one)
    return f"{zh} · {en}" + (f": {which}" if which else "")


def require(agreement: Row) -> None:
    """Raises Problem 409 when the dataset does not carry the agreement."""
    if agreement["lack"] is not None:
        raise conflict(agreement["lack"], f"{agreement['dataset']}: {reason(agreement)}")


async def enforce(tx: Transaction, provider: str) -> None:
    """Ends what a provider's datasets do not carry any more, and tells."""
    for row in await repository.groundless(tx, provider):
        why = reason(row)
        await repository.set_state(tx, row["id"], "suspended")
        await repository.add_step(tx, row["id"], state="suspended", reason=why, decided_by=ITSELF)
        await tx.leaf(
            action="agreements.suspend", records=0, resource=row["dataset"], agreement=row["id"], reason=why
        )
        said = {name: row[name] for name in ("dataset", "provider", "consumer")}
        await tx.publish(
            "exchange.agreement.suspended",
            aggregate=f"agreement/{row['id']}",
            data={"agreement": row["id"], **said, "reason": row["lack"]},
        )
    await _enforce_open_data(tx, provider)


async def _enforce_open_data(tx: Transaction, provider: str) -> None:
    why = " · ".join(_WORDS["not_shared"])
    datasets = {one.id: one.dataset for one in products.products().values()}
    for row in await open_data.withdraw_not_shared(tx, provider, datasets, why):
        id, version = row["product"], row["version"]
        await tx.leaf(action="releases.withdraw", resource=f"{id}/{version}", records=0, reason=why)
        await tx.publish(
            "exchange.open_data.withdrawn",
            aggregate=f"open-data/{id}",
            data={"product": id, "version": version},
        )
    for row in await open_data.end_not_shared(tx, provider, why):
        await tx.leaf(action="exports.ended", resource=row["dataset"], records=0, reason=why)
        await tx.publish(
            "exchange.export.ended", aggregate=f"export/{row['id']}", data={"export": str(row["id"])}
        )
