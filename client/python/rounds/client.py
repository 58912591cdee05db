"""The REST API for notebooks and scripts, with the standard library and NumPy."""
from __future__ import annotations

import hashlib
import json
import math
import os
import pathlib
import ssl
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, BinaryIO, Dict, Iterator, List, Mapping, Optional, Tuple, Union

import numpy as np

from rounds import frameworks, statistics, weights
from rounds.statistics import Statistics

FINAL = ("completed", "failed", "aborted")


class Problem(RuntimeError):
    """The server refused: `status`, `type` (a short name such as "not-found"), `detail`, and `errors` by field."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status, self.body = status, body
        self.type = str(body.get("type", "")).rsplit("/", 1)[-1]
        self.detail = str(body.get("detail") or body.get("title") or "the server refused")
        self.errors: List[Dict[str, str]] = list(body.get("errors") or [])
        super().__init__("; ".join(f"{e['field']}: {e['message']}" for e in self.errors) or self.detail)


def _contexts() -> pathlib.Path:
    home = os.environ.get("ROUNDS_HOME")
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return pathlib.Path(home) if home else pathlib.Path(config) / "rounds"


class Client:
    """A server, as one of its people.

    Client() takes the login that `rounds login` made; Client(context="name") another one of them; Client(url, token, ca_file)
    needs none.
    """

    def __init__(self, url: Optional[str] = None, token: Optional[str] = None, ca_file: Optional[str] = None,
                 context: str = "default") -> None:
        if url is None:
            path = _contexts() / "contexts.json"
            known = json.loads(path.read_text()) if path.exists() else {}
            if context not in known:
                raise RuntimeError(f'there is no login named "{context}": run `rounds login`, or give url, token and ca_file')
            url, token, ca_file = (known[context].get(key) for key in ("url", "token", "ca_file"))
        self.url, self._token = str(url).rstrip("/"), token
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file)))

    def _open(self, method: str, path: str, data: Union[bytes, BinaryIO, None] = None, timeout: float = 120,
              headers: Optional[Mapping[str, str]] = None) -> Any:
        request = urllib.request.Request(path if path.startswith("https:") else self.url + path, data=data, method=method)
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            return self._opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            raw = error.read()
            try:
                body = json.loads(raw)
            except ValueError:
                body = {"detail": raw.decode(errors="replace")[:300]}
            raise Problem(error.code, body) from None

    def call(self, method: str, path: str, body: Any = None, timeout: float = 120) -> Any:
        """Any call of the API: `path` behind /api/v1; the answer's JSON, or None."""
        data = None if body is None else json.dumps(body).encode()
        with self._open(method, "/api/v1" + path, data, timeout, {"Content-Type": "application/json"}) as answer:
            raw = answer.read()
        return json.loads(raw) if raw else None

    def submit(self, spec: Optional[Mapping[str, Any]] = None, **fields: Any) -> "Job":
        """Submits a job, given as in a job file; Problem.errors lists every wrong field."""
        return Job(self, self.call("POST", "/jobs", {**(spec or {}), **fields}))

    def job(self, job: str) -> "Job":
        """The job of that id."""
        return Job(self, self.call("GET", f"/jobs/{job}"))

    def jobs(self, **filters: Any) -> Iterator["Job"]:
        """Jobs, newest first; filters as in the API: state, site, q."""
        cursor: Optional[str] = ""
        while cursor is not None:
            query = {k: v for k, v in {**filters, "cursor": cursor}.items() if v}
            page = self.call("GET", "/jobs?" + urllib.parse.urlencode(query))
            for row in page["items"]:
                yield Job(self, row)
            cursor = page.get("next")

    def sites(self) -> List[Dict[str, Any]]:
        """Every site as the server knows it."""
        return list(self.call("GET", "/sites")["items"])

    def upload(self, model: Any) -> str:
        """Stores a model (whatever rounds.send takes) and returns its digest, "sha256:...", for a job's initial_model."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "model"
            weights.save(frameworks.weights_of(model), path)
            with open(path, "rb") as file:
                digest = hashlib.sha256()
                for block in iter(lambda: file.read(1 << 20), b""):
                    digest.update(block)
                size = str(file.tell())
                file.seek(0)
                self._upload(file, size)
        return "sha256:" + digest.hexdigest()

    def _upload(self, file: BinaryIO, size: str) -> None:
        tus = {"Tus-Resumable": "1.0.0"}
        with self._open("POST", "/api/v1/uploads", b"", headers={**tus, "Upload-Length": size}) as answer:
            place = answer.headers["Location"]
        self._open("PATCH", place, file, 3600, {**tus, "Upload-Offset": "0", "Content-Length": size,
                                                "Content-Type": "application/offset+octet-stream"}).close()

    def download(self, digest: str) -> Dict[str, np.ndarray]:
        """A stored model as {name: array}, of the shapes and dtypes that it has there (bfloat16 as weights.BFloat16)."""
        return self._download(digest)[0]

    def _download(self, digest: str) -> Tuple[Dict[str, np.ndarray], Dict[str, str]]:
        """The same, and what the model says of itself."""
        with self._open("GET", f"/api/v1/blobs/{digest}", timeout=3600) as answer:
            return weights.read(answer)


class Job:
    """A job at the server. `state`, `round`, `rounds`, `reason` and more are attributes, as of the last refresh()."""

    def __init__(self, client: Client, row: Dict[str, Any]) -> None:
        self._client, self.row = client, row

    def __getattr__(self, name: str) -> Any:
        row = self.__dict__.get("row", {})
        if name in row:
            return row[name]
        raise AttributeError(name)

    def __repr__(self) -> str:
        return f"<Job {self.row['name']!r} {self.row['state']}, round {self.row['round']} of {self.row['rounds']}>"

    def refresh(self) -> "Job":
        """Asks the server again."""
        self.row = self._client.call("GET", f"/jobs/{self.row['id']}")
        return self

    def watch(self, timeout: Optional[float] = None) -> Iterator[Dict[str, Any]]:
        """The job's events as they happen, {"kind", "round", "site", "message", "time"}, until it has ended.

        After `timeout` seconds (None: never) TimeoutError says what the job is waiting for.
        """
        until = None if timeout is None else time.monotonic() + timeout
        cursor: Optional[str] = None
        while True:
            ended = self.refresh().state in FINAL
            left = 20.0 if until is None else min(20.0, until - time.monotonic())
            if left <= 0 and not ended:
                raise TimeoutError(f"after {timeout:g} s: {self.waits_for()}")
            query = {"limit": 1000, "wait": 0 if ended else math.ceil(left), **({"cursor": cursor} if cursor else {})}
            page = self._client.call("GET", f"/jobs/{self.row['id']}/events?{urllib.parse.urlencode(query)}")
            yield from page["items"]
            cursor = page.get("next") or cursor
            if ended and not page["items"]:
                return

    def wait(self, timeout: Optional[float] = None) -> "Job":
        """Until it has ended; RuntimeError with the reason if it did not complete.

        After `timeout` seconds (None: never) TimeoutError says what the job is waiting for; the job goes on.
        """
        for _ in self.watch(timeout):
            pass
        if self.refresh().state != "completed":
            raise RuntimeError(f"the job {self.row['state']}: {self.row['reason']}")
        return self

    def waits_for(self) -> str:
        """Why it has not ended, for people: what keeps it from starting, or which sites still work on its round."""
        row = self.refresh().row
        said = f"the job {row['name']!r} is {row['state']}"
        if row["reason"] or row["state"] != "running":
            return f"{said}: {row['reason']}" if row["reason"] else said
        tasks = self._client.call("GET", f"/jobs/{row['id']}/tasks?round={row['round']}")["items"]
        sites = ", ".join(sorted(f"{task['site']} ({task['stage'] or 'has not begun'})" for task in tasks
                                 if task["state"] in ("pending", "leased")))
        return f"{said}, round {row['round']} of {row['rounds']}" + (f", and waits for {sites}" if sites else "")

    def schema(self) -> Dict[str, Any]:
        """What the sites agreed on before they trained, and who differs.

        `schema` has `digest`, `features`, `categories`, `label` and `classes` (None: the model says nothing of it; a text in place
        of a list is a digest), `made_by` the site whose table it is of. `differs` lists sites that were refused, each with `what`
        is wrong; `lacks` which of the columns that the job names (trainer.ignore, trainer.categories) a site has none of.
        """
        schema: Dict[str, Any] = self._client.call("GET", f"/jobs/{self.row['id']}/schema")
        return schema

    def abort(self) -> None:
        """Calls it off."""
        self._client.call("POST", f"/jobs/{self.row['id']}/abort", {})

    def metrics(self, name: Optional[str] = None, site: str = "") -> Dict[str, Dict[int, float]]:
        """{metric: {round: value}}, int to float, NaN where it was not finite: of the whole federation, or of one site.

        Round 0 is the model that the job began with.
        """
        query = urllib.parse.urlencode({k: v for k, v in (("name", name), ("site", site)) if v is not None})
        found: Dict[str, Dict[int, float]] = {}
        for row in self._client.call("GET", f"/jobs/{self.row['id']}/metrics?{query}")["items"]:
            found.setdefault(row["name"], {})[row["round"]] = float("nan") if row["value"] is None else row["value"]
        return found

    def download(self, best: bool = False) -> Dict[str, np.ndarray]:
        """The last (or the best) model as {name: array}, of the model's shapes and dtypes; load_state_dict takes them as tensors."""
        digest = self.refresh().row["best" if best else "model"]
        if not digest:
            raise RuntimeError("the job has no such model" + (": it names no key_metric" if best else " yet"))
        return self._client.download(digest)

    def statistics(self, site: str = "") -> Statistics:
        """What a job of the workflow `statistics` has found, of all sites together or of one."""
        return statistics.of_job(self, site)

    def cox(self) -> Dict[str, Any]:
        """What a job of the workflow `cox` has found: {"covariates": {name: {hazard_ratio, ...}}, ...}.

        Names of categories' values are digests unless the job lists the values in its trainer's `categories`.
        """
        return statistics.cox_of_job(self)

    def plot(self, *names: str) -> Any:
        """Curves of metrics by round (all if none is named), as a matplotlib figure."""
        from matplotlib import pyplot
        found = self.metrics()
        figure, axes = pyplot.subplots()
        for name in names or sorted(found):
            axes.plot(list(found[name]), list(found[name].values()), label=name)
        axes.set_xlabel("round")
        axes.legend()
        return figure
