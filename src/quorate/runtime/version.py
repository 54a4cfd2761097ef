"""The version of Quorate, as it was installed."""

from importlib.metadata import version

VERSION = version("quorate")
