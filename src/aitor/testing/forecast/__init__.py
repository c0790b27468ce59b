"""
A forecast of a batch: how long, how much, who carries it, and where it waits.

`forecast` runs the real broker of a configuration in virtual time before providers
that behave as is assumed; `draw` makes a picture of it. `aitor simulate` is its face.
"""

from aitor.testing.forecast.assumptions import Assumption, Price
from aitor.testing.forecast.keyless import find_without_keys
from aitor.testing.forecast.picture import draw
from aitor.testing.forecast.result import Forecast, Load
from aitor.testing.forecast.run import Batch, forecast

__all__ = (
    "Assumption",
    "Batch",
    "Forecast",
    "Load",
    "Price",
    "draw",
    "find_without_keys",
    "forecast",
)
