"""From an installer's last lines to a cause and a remedy, in one table.

Each row: what the text is searched for, the cause, the remedy. The first row
that is found wins, so the outermost reason comes first: an index that cannot be
reached makes every package look missing. In the texts, {1} is the first group
of the match; {python}, {platform} and {minor} describe the interpreter. A row
that ends in OTHER_PYTHON is one that another version of Python may mend.
"""

import re

OTHER_PYTHON = True

ROWS = (
    # --- the machine
    (r"No space left on device|Disk quota exceeded",
     "the disk is full",
     "free some space where Soma keeps its data"),
    (r"(?i)CERTIFICATE_VERIFY_FAILED|invalid peer certificate",
     "the certificate of the package index is not trusted",
     "name the right certificates in PIP_CERT (or SSL_CERT_FILE)"),
    (r"(?i)Temporary failure in name resolution|Name or service not known|nodename nor servname|dns error",
     "the package index cannot be reached: its name does not resolve",
     "check the network of this machine, or name an index it can reach in PIP_INDEX_URL"),
    (r"(?i)Failed to establish a new connection|NewConnectionError|ConnectTimeoutError|Read timed out"
     r"|error sending request|Connection refused|Network is unreachable|Cannot connect to proxy",
     "the package index cannot be reached",
     "check the network of this machine, or name an index it can reach in PIP_INDEX_URL"),
    (r"(?i)\b(401|403)\b[^\n]*(Client Error|Unauthorized|Forbidden)|Invalid credentials|HTTP status client error \((401|403)",
     "the package index refuses the credentials",
     "check user and password in PIP_INDEX_URL or pip.conf"),
    (r"(?i)are you root\?|must be run as root|Could not open lock file /var/lib/dpkg|sudo: (?:command not found|effective uid)",
     "the script wants to be root, and environments are built as an unprivileged user",
     "install system packages on the machine itself, once, and leave the script to Python packages"),

    # --- what the file says
    (r"Invalid requirement: ['\"]?([^\n'\"]+)",
     "a line of the requirements is not one: {1}",
     "write it as NAME, NAME==VERSION or a URL"),
    (r"Couldn't parse requirement[^\n]*\n\s*cause:\s*([^\n]+)",
     "a line of the requirements is not one: {1}",
     "write it as NAME, NAME==VERSION or a URL"),
    (r"DO NOT MATCH THE HASHES|(?i:hash mismatch)",
     "a package is not the one whose hash the requirements name",
     "write the hashes again, or find out who changed the package"),
    (r"Could not open requirements file: ([^\n]+)|File not found: `([^`\n]+)`",
     "a file that the requirements name is not there: {1}",
     "check the path: it counts from the file that names it"),
    (r"(?:ERROR: |error: )([^\n]*does not appear to be a Python project[^\n]*)",
     "{1}",
     "the path counts from the project's folder, and needs a pyproject.toml or setup.py there"),

    # --- what the index has
    (r"requires a different Python: [^\n]* not in '?([^'\n]+)|Requires-Python[^\n]* ([<>=!~][^\n;]*)",
     "a package is not made for Python {python} (it wants {1})",
     "choose another version of the package, or another interpreter with the key python", OTHER_PYTHON),
    (r"has no wheels with a matching Python (?:ABI tag|version tag|implementation tag)[^\n]*",
     "a package has no file for Python {python} on {platform}",
     "choose another version of the package, or another interpreter with the key python", OTHER_PYTHON),
    (r"has no wheels with a matching platform tag[^\n]*",
     "a package has no file for {platform}",
     "choose another version of the package"),
    (r"ResolutionImpossible",
     "the requirements contradict each other",
     "loosen the versions that the lines above name"),
    (r"(?s)Because you require ([^\n]+), we can conclude that your requirements are unsatisfiable",
     "the requirements contradict each other: {1}",
     "loosen these versions"),
    (r"Could not find a version that satisfies the requirement ([^\n(]+?) \(from versions: none\)",
     "package {1} was not found: the index has none of that name, or no file for Python {python} on {platform}",
     "check its name; where it comes from another index, name that in PIP_EXTRA_INDEX_URL", OTHER_PYTHON),
    (r"(\S+) was not found in the (?:package registry|provided package locations)",
     "package {1} was not found: the index has none of that name",
     "check its name; where it comes from another index, name that in PIP_EXTRA_INDEX_URL"),
    (r"Could not find a version that satisfies the requirement ([^\n(]+?) \(from",
     "there is no {1} for Python {python} on {platform}",
     "choose one of the versions listed above, or another interpreter with the key python", OTHER_PYTHON),
    (r"there (?:is|are) no versions? of ([^\n,]+?) and",
     "there is no {1}",
     "choose a version that the index has"),
    (r"No solution found when resolving dependencies",
     "the requirements cannot be met together",
     "read the lines above: they name the versions in conflict"),

    # --- what it takes to build
    (r"fatal error: Python\.h: No such file",
     "a package has to be compiled, and the headers of Python are missing",
     "run: apt install python{minor}-dev"),
    (r"(?i)unable to execute '?([\w+-]*(?:gcc|cc|g\+\+))|command '?([\w+-]*(?:gcc|cc|g\+\+|clang))'? failed: No such file"
     r"|error: \[Errno 2\] No such file or directory: '([\w+-]*(?:gcc|cc|g\+\+))'",
     "a package has to be compiled, and there is no compiler ({1})",
     "run: apt install build-essential python{minor}-dev; or choose a version that has a wheel"),
    (r"fatal error: (\S+): No such file",
     "a package has to be compiled, and {1} is missing",
     "install the system's package that has it, or choose a version that has a wheel"),
    (r"(?:Failed building wheel for|Failed to build:?) [`'\"]?([\w.@=+-]+)",
     "package {1} could not be built",
     "read the lines above; a version that has a wheel for Python {python} needs no building", OTHER_PYTHON),
    (r"metadata-generation-failed|subprocess-exited-with-error",
     "a package could not be built",
     "read the lines above; a version that has a wheel for Python {python} needs no building", OTHER_PYTHON),
    (r"(?i)Permission denied:? ?'?([^\n']*)",
     "something is not permitted to the user that builds environments: {1}",
     "leave system folders alone: packages belong into the environment, which is active"),
)


def first_row(text):
    """(row, match) of the outermost reason, or (None, None)."""
    for row in ROWS:
        found = re.search(row[0], text)
        if found:
            return row, found
    return None, None


def may_want_other_python(text):
    row, _ = first_row(text)
    return bool(row) and row[-1] is OTHER_PYTHON


def explain(text, facts, fallback):
    """(cause, remedy) of an installer's output."""
    row, found = first_row(text)
    if not row:
        return fallback
    cause, remedy = row[1:3]
    word = next((group for group in found.groups() if group), "").strip()
    cause = cause.replace("{1}", word)
    for key in facts:
        cause = cause.replace("{%s}" % key, facts[key])
        remedy = remedy.replace("{%s}" % key, facts[key])
    return cause.replace(" ()", "").rstrip(": "), remedy
