"""Which other Python would do for a version that has no file for this one."""

import os
import re
import shutil

OLDEST, NEWEST = 8, 14  # minor versions that are asked about

# What the installers say of the package that they could not build or find.
FAILED = (
    r"Failed to build [`'\"]?([\w.-]+)",
    r"Failed building wheel for ([\w.-]+)",
    r"satisfies the requirement ([\w.-]+)",
    r"Because ([\w.-]+)==\S+ has no (?:wheels|usable wheels)",
    r"Package ['\"]([\w.-]+)['\"] requires a different Python",
)
# Only after one of these was the last package collected the one at fault.
BUILDING = r"metadata-generation-failed|subprocess-exited-with-error|Getting requirements to build wheel did not run"


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def culprit(text):
    """The name of the package that an installer gave up on, or None."""
    for pattern in FAILED:
        found = re.search(pattern, text)
        if found:
            return found.group(1)
    if re.search(BUILDING, text):
        collected = re.findall(r"^\s*Collecting ([\w.-]+)", text, re.M)
        return collected[-1] if collected else None
    return None


def pinned(name, lines):
    """NAME==VERSION as the requirements have it, or None."""
    for line in lines:
        found = re.match(r"([\w.-]+)(?:\[[^\]]*\])?\s*===?\s*([\w.!+]+)", line)
        if found and normal(found.group(1)) == normal(name):
            return "%s==%s" % found.groups()
    return None


def installed(minor):
    """A program of that version that replicas may have, or None."""
    name = "python3.%d" % minor
    return shutil.which(name, path="/usr/local/bin:/usr/bin:" + os.environ.get("PATH", ""))


def advice(text, lines, facts, has_wheel):
    """(requirement, remedy) where a pinned package has no file for this Python
    and has one for another: the nearest older version, else the nearest newer.
    (None, None) otherwise. has_wheel(requirement, minor) asks the index."""
    name = culprit(text)
    requirement = name and pinned(name, lines)
    own = int(facts["version"].split(".")[1])
    others = list(range(min(own - 1, NEWEST), OLDEST - 1, -1)) + list(range(own + 1, NEWEST + 1))
    for minor in others if requirement else ():
        if has_wheel(requirement, minor):
            other = "python3.%d" % minor if installed(minor) else "an interpreter of that version"
            return requirement, "it has a file for Python 3.%d: set predictor.python to %s, or choose a version that " \
                "has one for 3.%d" % (minor, other, own)
    return None, None
