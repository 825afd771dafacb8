"""A node of its own for a load script, over HTTP alone."""

import contextlib
import http.client
import json
import pathlib
import subprocess
import tempfile


class Node:
    def __init__(self, address, folder):
        self.address, self.folder = address, folder
        self.operator = (folder / "data/operator.token").read_text().strip()

    def api(self, method, path, content, token, expect):
        """Sends a request, checks the status, and returns the answer's JSON."""
        connection = http.client.HTTPConnection(self.address)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        assert answer.status == expect, data[:500]
        return json.loads(data)

    def tenant(self, name, scopes):
        """Makes a tenant, and returns a token for it."""
        self.api("POST", "/api/v1/tenants", json.dumps({"name": name}), self.operator, 201)
        wish = json.dumps({"subject": "load", "scopes": scopes})
        return self.api("POST", f"/api/v1/tenants/{name}/tokens", wish, self.operator, 201)["token"]


@contextlib.contextmanager
def node(aimass, *arguments, environment=None):
    """Starts a node on a free port over a new folder; it ends with the block."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        command = [aimass, "serve", "--json", "--data", str(folder / "data"), "--listen", "127.0.0.1:0", *arguments]
        server = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        try:
            line = ""
            while '"url"' not in line:
                line = server.stdout.readline()
                assert line, "the node did not start"
            yield Node(line.split("//")[1].split('"')[0], folder)
        finally:
            server.kill()
            server.wait()
