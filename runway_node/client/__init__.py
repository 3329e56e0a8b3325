"""The client: what crosses the network, and the errors it comes home with."""

from .bodies import Streamed, order_body
from .fetch import Broken, LinkDead, most_bytes
from .preflight import preflight
from .verbs import Client, Later

__all__ = ["Broken", "Client", "Later", "LinkDead", "Streamed", "most_bytes", "order_body", "preflight"]
