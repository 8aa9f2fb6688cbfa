"""Wires the suite's plugins to pytest; the options come earlier, by `-p fixtures.plugins.options` in pytest.ini."""

# Each after those it imports, so that pytest can rewrite their assertions.
pytest_plugins = (
    "fixtures.plugins.opt_in",
    "fixtures.plugins.collect",
    "fixtures.plugins.images",
    "fixtures.plugins.progress",
    "fixtures.plugins.guard",
    "fixtures.plugins.traces",
    "fixtures.plugins.boundary",
    "fixtures.plugins.loading",
    "fixtures.plugins.feeds",
    "fixtures.plugins.pairs",
    "fixtures.plugins.measure",
    "fixtures.plugins.quality",
    "fixtures.workers.supervise",
    "fixtures.plugins.workers",
    "fixtures.plugins.remote",
    "fixtures.plugins.failing",
    "fixtures.plugins.records",
    "fixtures.plugins.speedups",
    "fixtures.plugins.gate",
    "fixtures.plugins.budgets",
    "fixtures.plugins.saving",
    "fixtures.plugins.report",
    "fixtures.plugins.outputs",
)
