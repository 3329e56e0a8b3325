"""Things that are not a video, for links that promise one. Each is what an attacker, a proxy or a bug would send."""

from __future__ import annotations

import io

import av
import numpy as np

from .faults import Content

_TEXTS: dict[str, str] = {
    "html": "<!DOCTYPE html><html><body><h1>Sign in to continue</h1></body></html>",
    "empty": "",
    "text": "not a video",
    "ffconcat": "ffconcat version 1.0\nfile /etc/passwd\nfile http://127.0.0.1:9/secret.mp4\n",
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
    "mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>file:///etc/passwd'
    "</BaseURL></Representation></AdaptationSet></Period></MPD>",
}


def dummy(content: Content, honest: bytes) -> bytes:
    """The bytes of that *content*; "truncated" is the first half of the *honest* answer."""
    if content == "truncated":
        return honest[: len(honest) // 2]
    if content == "audio":
        return _tone()
    return _TEXTS[content].encode()


def _tone() -> bytes:
    """Two seconds of sound in an mp4 without pictures."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        samples = np.sin(np.arange(88_200) * 2 * np.pi * 440 / 44_100).astype(np.float32) * 0.1
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis, :], format="fltp", layout="mono")
        frame.sample_rate = 44_100
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return buffer.getvalue()
