"""Keys of the suite's own services as OAuth clients, derived so that nothing has to be handed out."""

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey

from services.kit.settings import Settings

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def p256_key(seed: bytes) -> ECKey:
    """The P-256 key that belongs to 32 secret bytes; the same bytes give the same key."""
    scalar = int.from_bytes(seed) % (_P256_ORDER - 1) + 1
    pem = ec.derive_private_key(scalar, ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    return ECKey.import_key(pem)


def service_key(settings: Settings, service: str) -> ECKey:
    """The private key of the client `service:<name>`; identity registers its public half."""
    return p256_key(settings.secret_for(service, "client"))
