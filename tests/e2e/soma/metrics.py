"""/metrics of one api as a mapping."""
import re


class Metrics(dict):
    """name to value; (name, label) to value where there is another label than the api's."""

    def __init__(self, admin, api):
        text = admin.call("GET", "/metrics").text
        super().__init__(self._one(line, api) for line in text.splitlines() if f'api="{api}"' in line)

    @staticmethod
    def _one(line, api):
        name, labels, value = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line).groups()
        others = [v for k, v in re.findall(r'(\w+)="([^"]*)"', labels) if k != "api"]
        return ((name, others[0]) if others else name), float(value)
