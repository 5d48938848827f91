"""How long one decision of the access policies takes, with the policies each service ships."""

import time
from statistics import median

from services.kit.policy import Policies, Resource
from services.kit.principals import Principal

DECISIONS = 2_000
AUDITOR = Principal(
    kind="staff",
    subject="u_1",
    organisation="A",
    roles=frozenset({"auditor"}),
    areas=("330100",),
    scopes=frozenset({"social_security:findings:read", "social_security:audits:run"}),
    purpose="benefit_audit",
)
DOCTOR = Principal(
    kind="staff",
    subject="u_2",
    organisation="A",
    roles=frozenset({"clinician"}),
    areas=("330100",),
    scopes=frozenset({"user/*.rs"}),
    purpose="treatment",
)
ASKED = (
    ("social_security", AUDITOR, "findings.read", Resource("SocialSecurity::Finding", area="330106"), True),
    ("social_security", AUDITOR, "findings.read", Resource("SocialSecurity::Finding", area="310101"), False),
    ("health", DOCTOR, "fhir.read", Resource("Health::Record", owner="h1_x", organisation="A"), True),
    ("health", DOCTOR, "fhir.read", Resource("Health::Record", owner="h1_x", organisation="B"), False),
)


def decision_ms() -> dict[str, float]:
    """Median and 95th percentile over permitted and refused ones of two services; answers are checked."""
    taken: list[float] = []
    for number in range(DECISIONS):
        package, who, action, resource, expected = ASKED[number % len(ASKED)]
        policies = Policies.of(package)
        began = time.perf_counter()
        found = policies.decide(who, action, resource)
        taken.append((time.perf_counter() - began) * 1000)
        assert found.permitted is expected
    return {"decision_p50_ms": median(taken), "decision_p95_ms": sorted(taken)[int(DECISIONS * 0.95)]}
