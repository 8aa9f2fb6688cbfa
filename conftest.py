"""Wires the suite's plugins to pytest; the options come earlier, by `-p fixtures.plugins.options` in pytest.ini."""

from fixtures.plugins import PLUGINS

pytest_plugins = PLUGINS
