#include "cli/project.h"

#include <ctype.h>
#include <string.h>

#include "core/mem.h"

enum { NAME_MAX_LEN = 42 }; /* what the config file takes */

static const struct project_type types[] = {
	{
		"python",
		"a Python class",
		{
			{"soma.yaml",
			 "- name: @name@\n"
			 "  predictor:\n"
			 "    type: python\n"
			 "    path: predictor.py\n"
			 "    config:  # handed to __init__\n"
			 "      weights: [0.5, -1.0, 2.0]\n",
			 NULL},
			{"predictor.py",
			 "class PythonPredictor:\n"
			 "    def __init__(self, config):\n"
			 "        # Once in each process: load the model "
			 "here.\n"
			 "        # Packages it needs go into requirements.txt "
			 "beside this file.\n"
			 "        self.weights = config[\"weights\"]\n"
			 "\n"
			 "    def predict(self, payload):\n"
			 "        # For each request: its JSON in, the "
			 "answer's "
			 "JSON out.\n"
			 "        x = payload[\"x\"]\n"
			 "        return {\"y\": sum(a * w for a, w in zip(x, "
			 "self.weights))}\n",
			 NULL},
			{"sample.json", "{\"x\": [1, 2, 3]}\n", NULL},
		},
	},
	{
		"onnx",
		"an ONNX model",
		{
			{"soma.yaml",
			 "- name: @name@\n"
			 "  predictor:\n"
			 "    type: onnx\n"
			 "    model: model.onnx  # y = x * [0.5, -1, 2]; put "
			 "your "
			 "own in its place\n",
			 NULL},
			{"model.onnx", NULL, project_onnx_model},
			{"sample.json", "{\"x\": [[1, 2, 3]]}\n", NULL},
		},
	},
	{
		"command",
		"any program that serves HTTP",
		{
			{"soma.yaml",
			 "- name: @name@\n"
			 "  predictor:\n"
			 "    type: command\n"
			 "    command: python3 server.py  # any program that "
			 "serves HTTP on $PORT\n"
			 "    readiness_path: /health     # answers 200 when "
			 "it "
			 "can be used\n",
			 NULL},
			{"server.py",
			 "import json\n"
			 "import os\n"
			 "from http.server import BaseHTTPRequestHandler, "
			 "ThreadingHTTPServer\n"
			 "\n"
			 "WEIGHTS = [0.5, -1.0, 2.0]\n"
			 "\n"
			 "\n"
			 "class Handler(BaseHTTPRequestHandler):\n"
			 "    protocol_version = \"HTTP/1.1\"\n"
			 "\n"
			 "    def answer(self, status, value):\n"
			 "        body = json.dumps(value).encode()\n"
			 "        self.send_response(status)\n"
			 "        self.send_header(\"Content-Type\", "
			 "\"application/json\")\n"
			 "        self.send_header(\"Content-Length\", "
			 "str(len(body)))\n"
			 "        self.end_headers()\n"
			 "        self.wfile.write(body)\n"
			 "\n"
			 "    def do_GET(self):\n"
			 "        self.answer(200, {\"ok\": True})\n"
			 "\n"
			 "    def do_POST(self):\n"
			 "        body = self.rfile.read(int(self.headers.get("
			 "\"Content-Length\", 0)))\n"
			 "        try:\n"
			 "            x = json.loads(body)[\"x\"]\n"
			 "            y = sum(a * w for a, w in zip(x, "
			 "WEIGHTS))\n"
			 "        except (KeyError, TypeError, ValueError) as "
			 "error:\n"
			 "            self.answer(400, {\"error\": "
			 "str(error)})\n"
			 "        else:\n"
			 "            self.answer(200, {\"y\": y})\n"
			 "\n"
			 "\n"
			 "ThreadingHTTPServer((\"127.0.0.1\", "
			 "int(os.environ[\"PORT\"])), "
			 "Handler).serve_forever()\n",
			 NULL},
			{"sample.json", "{\"x\": [1, 2, 3]}\n", NULL},
		},
	},
};

const struct project_type *project_type_at(size_t i)
{
	return i < ARRAY_LEN(types) ? &types[i] : NULL;
}

char *project_name(const char *from)
{
	char *name = mem_alloc(NAME_MAX_LEN + 1);
	size_t n = 0;

	for (; *from && n < NAME_MAX_LEN; from++) {
		int c = tolower((unsigned char)*from);

		/* It begins with a letter, and has no '-' at its end. */
		if (c >= 'a' && c <= 'z')
			name[n++] = (char)c;
		else if (n > 0 && c >= '0' && c <= '9')
			name[n++] = (char)c;
		else if (n > 0 && name[n - 1] != '-')
			name[n++] = '-';
	}
	while (n > 0 && name[n - 1] == '-')
		n--;
	name[n] = '\0';
	if (n == 0)
		strcpy(name, "model");
	return name;
}
