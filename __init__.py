"""For ComfyUI, where this repository lies in its `custom_nodes`. Anything else imports `runway_node`.

The package below loads nothing until the nodes are asked for, so this file can be imported anywhere.
"""

WEB_DIRECTORY = "./runway_node/hosts/comfyui/web"


async def comfy_entrypoint() -> object:
    """What ComfyUI calls once for the list of nodes."""
    from .runway_node.hosts.comfyui import comfy_entrypoint as ours

    return await ours()
