"""Templates: an edit written once, as YAML, and rendered for many clips. It names no provider and opens no ledger."""

from .editors import schema
from .places import Places
from .problems import TemplateError
from .rendering import Looked, Rendered, look, render
from .template import Source, load

__all__ = ["Looked", "Places", "Rendered", "Source", "TemplateError", "load", "look", "render", "schema"]
