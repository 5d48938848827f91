"""The log's newest head, for whoever wants to keep it and check it later."""

from datetime import datetime
from typing import Any

import strawberry
from strawberry.types import Info

from services.audit.client import AuditClient
from services.kit.graphql import client_of


@strawberry.type(description="Size and root of the access log at a time, signed. 访问日志的签名树头。")
class AuditHead:
    size: int
    root: str
    at: datetime
    jws: str


@strawberry.type
class Query:
    @strawberry.field(description="The newest signed head of the access log. 访问日志的最新签名树头。")
    async def audit_head(self, info: Info[Any, Any]) -> AuditHead | None:
        head = await (await client_of(info, AuditClient)).latest_head()
        return AuditHead(size=head.size, root=head.root, at=head.at, jws=head.jws)
