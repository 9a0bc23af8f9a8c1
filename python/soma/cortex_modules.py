"""What projects import of Cortex's own: cortex_internal.lib.log.

Found only where nothing else has the name.
"""
import importlib.abc
import importlib.machinery
import logging
import os
import sys

NAMES = ("cortex_internal", "cortex_internal.lib", "cortex_internal.lib.log")


def _logger(level):
    logger = logging.getLogger("cortex")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(getattr(logging, str(level).upper(), logging.INFO))
    return logger


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, level):
        self._level = level

    def find_spec(self, name, path=None, target=None):
        if name not in NAMES:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=name != NAMES[-1])

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        if module.__name__ == NAMES[-1]:
            logger = _logger(self._level)
            module.logger = logger
            module.configure_logger = lambda name, config_file=None: logger if name == "cortex" else logging.getLogger(name)
            # What they hand to configure_logger.
            os.environ.setdefault("CORTEX_LOG_CONFIG_FILE", os.devnull)


def install(level):
    """Behind all other finders."""
    sys.meta_path.append(_Finder(level))
