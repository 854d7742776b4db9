"""Modules of services that others may import: commands that need no service, and the format in which rollouts lie."""

ENTRY_POINTS = {
    "cli": {
        "areal_mesh.controller.ledger",
        "areal_mesh.controller.replaying",
        "areal_mesh.controller.recorded_orders",
        "areal_mesh.generator.standalone",
        "areal_mesh.learner.checkpoints.copying",
        "areal_mesh.learner.checkpoints.exporting",
        "areal_mesh.learner.checkpoints.manifest",
        "areal_mesh.learner.follow",
        "areal_mesh.learner.replaying",
        "areal_mesh.learner.taking_steps",
        "areal_mesh.replay.inspection.contents",
        "areal_mesh.replay.inspection.reading",
        "areal_mesh.replay.inspection.scanning",
    },
    "rollouts": {"areal_mesh.replay.reading"},
}
