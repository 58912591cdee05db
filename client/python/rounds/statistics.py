"""What a job of the workflow `statistics` has found: sums that became statistics of all sites' data together."""
from __future__ import annotations

from typing import Any, Dict, List, Mapping

import numpy as np


class Statistics:
    """Of all sites together, or of one.

    Attributes:
        columns: names, in the data's order; the values of a category and the label's classes are columns of 0 and 1.
        suppressed: {column: how many sites kept small counts back}.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], whole: Mapping[str, np.ndarray], sigmas: float,
                 time_max: float = 0.0) -> None:
        self._tensors, self._whole, self._sigmas, self._time_max = tensors, whole, sigmas, time_max
        self.columns: List[str] = [name[:-len("/histogram")] for name in tensors if name.endswith("/histogram")]
        self.suppressed = {name: int(self._of(name, "suppressed")) for name in self.columns if self._of(name, "suppressed")}

    def _of(self, column: str, what: str) -> float:
        return float(self._tensors[f"{column}/{what}"])

    def describe(self) -> Dict[str, Dict[str, float]]:
        """{column: {count, missing, mean, sd, 25%, 50%, 75%}}; sd is that of the sample, quantiles are read off histograms."""
        found = {}
        for name in self.columns:
            count = self._of(name, "count")
            mean = self._of(name, "sum") / count if count else float("nan")
            # Deviations are taken about the mean of the whole.
            whole = self._centre(name)
            squares = self._of(name, "deviations") - count * (mean - whole) ** 2 if count else 0.0
            sd = float(np.sqrt(max(squares, 0.0) / (count - 1))) if count > 1 else float("nan")
            found[name] = {"count": count, "missing": self._of(name, "missing"), "mean": mean, "sd": sd,
                           **{f"{100 * q:g}%": self.quantile(name, q) for q in (0.25, 0.5, 0.75)}}
        return found

    def _centre(self, column: str) -> float:
        count = float(self._whole[f"{column}/count"])
        return float(self._whole[f"{column}/sum"]) / count if count else 0.0

    def _reach(self, column: str) -> float:
        count, centre = float(self._whole[f"{column}/count"]), self._centre(column)
        variance = float(self._whole[f"{column}/squares"]) / count - centre ** 2 if count else 0.0
        return self._sigmas * float(np.sqrt(max(variance, 0.0)))

    def histogram(self, column: str) -> Dict[str, np.ndarray]:
        """{"edges": bins + 1, "counts": bins}, like numpy.histogram; what lies outside is in below() and above()."""
        counts = self._tensors[f"{column}/histogram"]
        centre, reach = self._centre(column), self._reach(column)
        return {"edges": np.linspace(centre - reach, centre + reach, len(counts) + 1), "counts": counts}

    def quantile(self, column: str, q: float) -> float:
        """Read off the histogram, evenly within its cell: right to a cell's width."""
        cells = self.histogram(column)
        counts = np.concatenate([[self._of(column, "below")], cells["counts"]])
        total = counts.sum() + self._of(column, "above")
        if total == 0:
            return float("nan")
        until = np.cumsum(counts)
        return float(np.interp(q * total, until, cells["edges"]))

    def correlation(self) -> np.ndarray:
        """Pearson's, columns x columns, over the rows that have both; NaN where a column does not vary."""
        products = self._tensors["together/products"]
        spread = np.sqrt(np.diag(products))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(products / np.outer(spread, spread))

    def contingency(self, rows: str, columns: str) -> Dict[str, Dict[str, float]]:
        """How often each value of one category comes with each of another (or with each class of the label)."""
        both = self._tensors["together/both"]

        def values(of: str) -> Dict[str, int]:
            return {name[len(of) + 1:]: i for i, name in enumerate(self.columns) if name.startswith(of + "=")}
        table = {r: {c: float(both[i, j]) for c, j in values(columns).items()} for r, i in values(rows).items()}
        if not table or not values(columns):
            raise KeyError(f"{rows} and {columns} must be categories or the label's classes")
        return table

    def survival(self) -> Dict[str, np.ndarray]:
        """Kaplan and Meier's estimate: {"time": the cells' ends, "survival": the share that is left then}."""
        events, at_risk = self._tensors["survival/events"], self._tensors["survival/at_risk"]
        with np.errstate(divide="ignore", invalid="ignore"):
            left = np.where(at_risk > 0, 1 - events / at_risk, 1.0)
        return {"time": np.linspace(0, self._time_max, len(events) + 1)[1:], "survival": np.cumprod(left)}


def of_job(job: Any, site: str = "") -> Statistics:
    """The statistics of a completed job: of all sites together, or of one of them (while its update is kept)."""
    params = job.refresh().row["spec"]["params"]
    client = job._client
    rounds = {row["number"]: row for row in client.call("GET", f"/jobs/{job.row['id']}/rounds")["items"]}
    whole = client.download(rounds[1]["model"])
    digest = job.row["model"]
    if site:
        tasks = client.call("GET", f"/jobs/{job.row['id']}/tasks?round=2")["items"]
        digest = next((task["update"] for task in tasks if task["site"] == site and task["update"]), None)
        if digest is None:
            raise KeyError(f"there is nothing of a site {site}")
    return Statistics(client.download(digest), whole, params["sigmas"], params["time_max"])
