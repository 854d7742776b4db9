"""What is said, loudly and everywhere, of a run that speaks plain text where others may listen."""

from areal_mesh.runtime.roles import SERVICE_ROLES
from areal_mesh.runtime.settings import RunSettings


def plain_text_warning(settings: RunSettings) -> str:
    """Names the services of a run that are reached in plain text beyond loopback; empty where there are none."""
    if settings.security.certificates is not None:
        return ""
    open_roles = [role for role in SERVICE_ROLES if not settings.service(role).address.is_loopback]
    if not open_roles:
        return ""
    return (
        f"PLAIN TEXT beyond loopback ({', '.join(open_roles)}): whoever reaches these ports can read this run, steer "
        "it and take its weights; make certificates with `areal-mesh certs init`, and set security.certificates"
    )
