"""What a ComfyUI tells its frontend over its websocket, printed a JSON line an event; run by ComfyUI's own Python."""

import asyncio
import json
import struct
import sys

import aiohttp


async def main(url):
    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
        async for message in socket:
            if message.type == aiohttp.WSMsgType.TEXT:
                sys.stdout.write(f"{message.data}\n")
            elif message.type == aiohttp.WSMsgType.BINARY and struct.unpack(">I", message.data[:4])[0] == 3:
                length = struct.unpack(">I", message.data[4:8])[0]
                text = message.data[8 + length :].decode()
                sys.stdout.write(json.dumps({"type": "text", "data": {"text": text}}) + "\n")


sys.stdout.reconfigure(line_buffering=True)
asyncio.run(main(sys.argv[1]))
