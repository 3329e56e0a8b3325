"""The guarded transport: URLs that came from outside reach public addresses over https, or nothing.

The name is resolved once, every address is judged, and the connection goes to the judged address: no second look-up
that could answer otherwise. A proxy of the environment's is trusted with that. The configured base URL's own origin is
the one exception.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import socket
import ssl
import urllib.request
from collections.abc import Iterator, Mapping

import httpx

from ..errors import NotFetched
from ..settings import is_loopback

REDIRECTS = 3


class ForbiddenAddress(httpx.RequestError):
    """A URL from outside pointed where it must not."""


def public_addresses(host: str, port: int) -> list[str]:
    """The addresses of *host*, all of them public.

    Raises:
        ForbiddenAddress: One of them is private, loopback, link-local or otherwise not global.
        httpx.ConnectError: The name cannot be resolved.

    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"{host} cannot be resolved: {error}") from error
    addresses = list(dict.fromkeys(str(row[4][0]) for row in found))
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
        if not (mapped or address).is_global or address.is_multicast or text in _NAT64:
            raise ForbiddenAddress(f"{host} is not a public address")
    return addresses


class _Nat64:
    """64:ff9b::/96 wraps any IPv4 address, private ones too."""

    network = ipaddress.ip_network("64:ff9b::/96")

    def __contains__(self, text: str) -> bool:
        address = ipaddress.ip_address(text.partition("%")[0])
        return address.version == 6 and address in self.network


_NAT64 = _Nat64()


@functools.cache
def tls() -> ssl.SSLContext:
    """One TLS context for all clients: reading the certificates takes some 40 ms each time."""
    return httpx.create_ssl_context()


class GuardedTransport(httpx.HTTPTransport):
    """An `HTTPTransport` for URLs that others named.

    Args:
        base_url: Whose origin may be anything.
        near: Whether all of loopback may be reached too, where *base_url* is there itself.

    """

    def __init__(self, base_url: str, *, near: bool = False) -> None:
        # Connections go to addresses, and two hosts may share one: none is kept for the next host.
        super().__init__(verify=tls(), limits=httpx.Limits(max_keepalive_connections=0))
        self._own = httpx.URL(base_url)
        self._near = near and is_loopback(base_url)
        proxy = urllib.request.getproxies().get("https")
        self._proxy = httpx.HTTPTransport(verify=tls(), proxy=proxy) if proxy else None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Connect to a judged address of the request's host, under the host's own name for TLS."""
        near = self._near and is_loopback(str(request.url))
        if not near and not same_origin(request.url, self._own):
            if request.url.scheme != "https":
                raise ForbiddenAddress(f"{request.url.scheme}://{request.url.host} is not https", request=request)
            return self._to_judged(request)
        return super().handle_request(request)

    def _to_judged(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        if self._proxy is not None and not urllib.request.proxy_bypass(host):
            # The proxy resolves the name, so it can be judged here only where it resolves here too.
            with contextlib.suppress(httpx.ConnectError):
                public_addresses(host, request.url.port or 443)
            return self._proxy.handle_request(request)
        request.extensions = {**request.extensions, "sni_hostname": host}
        addresses = public_addresses(host, request.url.port or 443)
        for address in addresses[:-1]:
            # A machine may have IPv6 addresses and no way there; nothing was sent yet.
            request.url = request.url.copy_with(host=address)
            with contextlib.suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return super().handle_request(request)
        request.url = request.url.copy_with(host=addresses[-1])
        return super().handle_request(request)

    def close(self) -> None:
        """Close the connections, the proxy's too."""
        super().close()
        if self._proxy is not None:
            self._proxy.close()


def same_origin(url: httpx.URL, own: httpx.URL) -> bool:
    """Whether *url* is at the configured base URL's origin; the names of loopback are one."""
    if (url.scheme, _port(url)) != (own.scheme, _port(own)):
        return False
    return url.host == own.host or (is_loopback(str(url)) and is_loopback(str(own)))


def _port(url: httpx.URL) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)


class Outside:
    """The client for download and upload links: no key and no cookies of ours.

    httpx logs the URLs it is given and keeps them in its errors, and a link's query is its signature: so httpx is
    given the link without it, and the connection gets the whole target.

    Args:
        base_url: The provider's.
        ours: Whether the links are into a store of ours: then their path is a secret too.

    """

    def __init__(self, base_url: str, *, ours: bool = False) -> None:
        self._ours = ours
        self._client = httpx.Client(
            transport=GuardedTransport(base_url, near=ours),
            timeout=httpx.Timeout(30.0, connect=10.0),
            follow_redirects=False,
            trust_env=False,
            headers={"User-Agent": "runway-node", "Accept-Encoding": "identity"},
        )

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: httpx.SyncByteStream | None = None,
        follow: bool = True,
    ) -> Iterator[httpx.Response]:
        """One exchange; a GET follows a few redirects, each judged anew, unless it is told not to."""
        link, follow = httpx.URL(url), follow and method == "GET"
        for _ in range(1 + (REDIRECTS if follow else 0)):
            target = {"target": link.raw_path}
            plain = link.copy_with(query=None, fragment=None)
            plain = plain.copy_with(path="/") if self._ours else plain
            with self._client.stream(method, plain, headers=headers, content=content, extensions=target) as response:
                if not (follow and response.has_redirect_location):
                    yield response
                    return
                link = link.join(response.headers["location"])
        raise ForbiddenAddress("the link is redirected too often")


def not_ours(error: ForbiddenAddress, task_id: str) -> NotFetched:
    """The error for a result link that the guard refused."""
    return NotFetched(f"The link of task {task_id} was refused: {error}", "Report it to the provider", task_id=task_id)
