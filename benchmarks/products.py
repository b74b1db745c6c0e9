"""Which float32 matrix product is quicker on this processor: torch.bmm, or oneDNN by torch's fused linear operator.

    python benchmarks/products.py [--threads 1] [--out benchmarks/results/products.json]

`nets/products.py` uses the second for products above a size; this is where the size and the choice come from. Errors
are against the same product in float64.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

SHAPES = [(100, 23, 1024), (100, 1024, 1024), (100, 400, 1600), (1000, 400, 1600), (256, 256, 256), (8, 39, 512)]


def seconds(call: Callable[[], torch.Tensor], rounds: int = 50) -> float:
    """The median time of a call."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return sorted(times)[rounds // 2]


def fused(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a b by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], "")


def main() -> None:
    """Prints a line a shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for n, k, p in SHAPES:
        a, b = torch.randn(n, k), torch.randn(k, p)
        exact = a.double() @ b.double()
        row: dict[str, object] = {"shape": [n, k, p], "threads": options.threads}
        for name, product in (("torch", torch.mm), ("fused", fused)):
            took = seconds(lambda product=product, a=a, b=b: product(a, b))
            row[f"{name}_gflops"] = 2e-9 * n * k * p / took
            row[f"{name}_error"] = float((product(a, b) - exact).abs().max() / exact.abs().max())
        rows.append(row)
        print(json.dumps(row), flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
