"""A service as a process of its own on a tiny model: the real one, but for a generator's engine, which only copies.

python -m tests.chaos.hosted_service ROLE --config FILE --service-id ID --controller ADDR --set KEY=VALUE
"""

import os
import sys
from collections.abc import Callable

from areal_mesh.cli.main import build_parser
from areal_mesh.cli.service_credentials import service_credentials
from areal_mesh.cli.serving import builder_of
from areal_mesh.generator.service import GeneratorService
from areal_mesh.runtime.environment import prepare_process
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.service import Service, ServiceContext, run_service
from areal_mesh.runtime.settings import load_settings
from areal_mesh.runtime.telemetry import configure_logging
from tests.integration.generator_mesh import Starter
from tests.integration.live_mesh import CopyingEngine


def main() -> None:
    """Runs the service to its end."""
    prepare_process()
    options = build_parser().parse_args(["serve", *sys.argv[1:]])
    settings = load_settings(options.config, options.overrides)
    configure_logging(options.service_id, settings.run_directory / "logs")
    credentials = service_credentials(settings, options.role, options.service_id)
    identity = Identity(options.role, options.service_id, credentials=credentials)
    context = ServiceContext(settings, identity, options.controller, options.run_id)
    builders: dict[str, Callable[[ServiceContext], Service]] = {
        "generator": lambda context: GeneratorService(context, Starter(CopyingEngine()))
    }
    build = builders.get(options.role) or builder_of(options.role)
    end = run_service(lambda: context, build)
    sys.stdout.flush()
    os._exit(end.exit_code)


if __name__ == "__main__":
    main()
