"""Wires the suite's plugins to pytest; the options are declared earlier, by `-p fixtures.options` in pytest.ini."""

# Each after those it imports, so that pytest can rewrite their assertions.
pytest_plugins = (
    "fixtures.opt_in",
    "fixtures.cases",
    "fixtures.inputs",
    "fixtures.progress",
    "fixtures.state.plugin",
    "fixtures.measure.traces",
    "fixtures.measure.boundary",
    "fixtures.loading",
    "fixtures.feeds",
    "fixtures.children.pairs",
    "fixtures.measure.plugin",
    "fixtures.quality.plugin",
    "fixtures.children.supervise",
    "fixtures.children.plugin",
    "fixtures.remote.plugin",
    "fixtures.readout.failing",
    "fixtures.readout.plugin",
    "fixtures.readout.speedup_plugin",
    "fixtures.readout.gate_plugin",
    "fixtures.readout.budget_plugin",
    "fixtures.readout.saving",
    "fixtures.report.plugin",
    "fixtures.report.outputs",
)
