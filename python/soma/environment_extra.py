"""What is installed although no requirements name it."""

import os
import re

from environment_key import requirement_lines


def normal(name):
    """As an index compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def named(lines):
    """The packages that lines of requirements name, normalised."""
    names = set()
    for line in lines:
        egg = re.search(r"[#&]egg=([\w.-]+)", line)
        wheel = re.search(r"(?:^|[/\s])([\w.]+)-[^/\s]*\.whl", line)
        plain = re.match(r"[A-Za-z0-9][\w.-]*(?=\s*(?:$|[\[@=<>!~;,(]|\s--?\w))", line)
        for found in (egg and egg.group(1), wheel and wheel.group(1), plain and plain.group(0)):
            if found:
                names.add(normal(found))
    return names


class Extra(object):
    """The packages beside the requirements: of rows "PACKAGE|OTHER|...", the
    first of each that the requirements have none of."""

    def __init__(self, imported, needed, requirements):
        have = named(requirement_lines(requirements)) if requirements and os.access(requirements, os.R_OK) else set()
        self.file = os.path.basename(requirements) if requirements else None
        self.needed = self.lacking(needed, have)
        self.imported = self.lacking(imported, have | set(normal(name) for name in self.needed))
        self.packages = self.imported + self.needed

    @staticmethod
    def lacking(rows, have):
        return [row.split("|")[0] for row in rows if not have.intersection(normal(name) for name in row.split("|"))]

    def __bool__(self):
        return bool(self.packages)

    def reasons(self):
        """A line for each kind: what and why."""
        where = "not in " + self.file if self.file else "there is no requirements.txt"
        if self.imported:
            yield "adding %s: imported, %s, and part of Cortex's image" % (", ".join(self.imported), where)
        if self.needed:
            yield "adding %s: ONNXPredictor runs on %s" % (", ".join(self.needed),
                                                           "them" if len(self.needed) > 1 else "it")

    def blamed(self, cause):
        """Whether a failure is about a package that came from here."""
        words = set(normal(word) for word in re.findall(r"[\w.-]+", cause))
        return any(normal(name) in words for name in self.imported)

    way_out = ("it was added because the project imports it: name a version in requirements.txt, "
               "or set base_packages to none")
