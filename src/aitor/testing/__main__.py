"""
`python -m aitor.testing`: the same as `aitor fake-provider`.
"""

import typer

from aitor.cli.fake import fake_provider

typer.run(fake_provider)
