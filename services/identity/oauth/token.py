"""The token endpoint (RFC 6749 section 3.2), introspection (RFC 7662), revocation (RFC 7009)."""

from typing import Any

from fastapi import APIRouter
from fastapi.requests import Request
from starlette.responses import JSONResponse, Response

from services.identity import signin, tokens
from services.identity.clients import Client, Clients
from services.identity.oauth.errors import NO_STORE
from services.identity.refusals import invalid_client, invalid_request
from services.identity.signin import Redeemed
from services.identity.tokens import Issuer
from services.identity.vault import vault_of
from services.kit.app import Kit, KitDep
from services.kit.principals import Principal
from services.kit.problems import Problem

FORM = "application/x-www-form-urlencoded"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
router = APIRouter()


async def _form(request: Request) -> dict[str, str]:
    """The form's fields; one that stands twice is refused (RFC 6749 section 3.2)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise invalid_request(f"send the parameters as {FORM}")
    found: dict[str, str] = {}
    async with request.form(max_files=0, max_fields=50) as form:
        for name, value in form.multi_items():
            if name in found:
                raise invalid_request(f"the parameter {name} stands twice")
            found[name] = str(value)
    return found


def _needed(form: dict[str, str], name: str) -> str:
    value = form.get(name, "")
    if not value:
        raise invalid_request(f"the parameter {name} is missing")
    return value


def _clients(kit: Kit) -> Clients:
    found: Clients = kit.parts["clients"]
    return found


def _issuer(kit: Kit) -> Issuer:
    found: Issuer = kit.parts["issuer"]
    return found


@router.post("/token")
async def token(request: Request, kit: KitDep) -> JSONResponse:
    form = await _form(request)
    grant = _needed(form, "grant_type")
    client = await _clients(kit).authenticated(form)
    match grant:
        case "client_credentials":
            asked = tokens.asked_scopes(form)
            answer = await tokens.for_client(_issuer(kit), client, asked, form.get("purpose"))
        case "authorization_code":
            answer = await _code(kit, client, form)
        case "refresh_token":
            answer = await _refresh(kit, client, form)
        case _ if grant == EXCHANGE:
            who = Principal(kind="service", subject=client.client_id, client_id=client.client_id)
            async with vault_of(kit).transaction(who) as tx:
                answer = await tokens.exchange(tx, _issuer(kit), kit.parts["register"], client, form)
        case _:
            raise Problem(400, "unsupported_grant_type", "the grant types are those in the metadata")
    return JSONResponse(answer, headers=NO_STORE)


async def _code(kit: Kit, client: Client, form: dict[str, str]) -> dict[str, Any]:
    async with kit.db.transaction() as tx:
        found = await signin.redeem_code(
            tx,
            client=client,
            code=_needed(form, "code"),
            redirect_uri=form.get("redirect_uri"),
            verifier=_needed(form, "code_verifier"),
        )
        answer = await _issued(kit, tx, found)
    return _or_refuse(answer, found)


async def _refresh(kit: Kit, client: Client, form: dict[str, str]) -> dict[str, Any]:
    async with kit.db.transaction() as tx:
        found = await signin.redeem_refresh_token(tx, client=client, token=_needed(form, "refresh_token"))
        answer = await _issued(kit, tx, found)
    return _or_refuse(answer, found)


async def _issued(kit: Kit, tx: Any, found: Redeemed) -> dict[str, Any] | None:
    if found.session is None:
        return None
    return await tokens.for_session(tx, _issuer(kit), found.session, nonce=found.nonce)


def _or_refuse(answer: dict[str, Any] | None, found: Redeemed) -> dict[str, Any]:
    # Refused only now: what a replay set off (the session's end) has to be committed first.
    if answer is None:
        assert found.refusal is not None
        raise found.refusal
    return answer


@router.post("/introspect")
async def introspect(request: Request, kit: KitDep) -> JSONResponse:
    form = await _form(request)
    client = await _clients(kit).authenticated(form)
    if client.public:
        raise invalid_client("introspection needs a client with a key")
    async with kit.db.transaction() as tx:
        answer = await tokens.introspect(tx, _issuer(kit), client, _needed(form, "token"))
    return JSONResponse(answer, headers=NO_STORE)


@router.post("/revoke")
async def revoke(request: Request, kit: KitDep) -> Response:
    form = await _form(request)
    client = await _clients(kit).authenticated(form)
    async with kit.db.transaction() as tx:
        await tokens.revoke(tx, _issuer(kit), client, _needed(form, "token"))
    return Response(status_code=200, headers=NO_STORE)
