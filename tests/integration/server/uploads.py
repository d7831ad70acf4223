"""The server's share, asked byte by byte."""

import asyncio

from xmpp_onion.server import Prosody
from xmpp_onion.testing.light_member import LightMember

UPLOAD = "urn:xmpp:http:upload:0"


async def http(
    prosody: Prosody, method: str, target: str, headers: str = "", body: bytes = b""
) -> tuple[bytes, bytes]:
    """Return head and body of an answer."""
    reader, writer = await asyncio.open_connection(  # noqa: TID251 - loopback
        "127.0.0.1", prosody.http_port
    )
    writer.write(
        f"{method} {target} HTTP/1.1\r\nHost: {prosody.onion}\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n{headers}\r\n".encode()
        + body
    )
    async with asyncio.timeout(60):
        answer = await reader.read(-1)
    writer.close()
    head, _, rest = answer.partition(b"\r\n\r\n")
    return head.lower(), rest


async def slot_for(
    prosody: Prosody, member: LightMember, size: int
) -> tuple[str, str, str]:
    """Return where to put an object, with which headers, and where it will lie."""
    answer = await member.ask(
        f"<request xmlns='{UPLOAD}' filename='a.bin' size='{size}'/>",
        to=f"share.{prosody.onion}",
    )
    put, get = answer.find(f".//{{{UPLOAD}}}put"), answer.find(f".//{{{UPLOAD}}}get")
    assert put is not None
    assert get is not None
    origin = f"https://{prosody.onion}"
    headers = "".join(
        f"{header.get('name')}: {header.text}\r\n" for header in put
    )  # fmt: skip
    paths = [str(each.get("url")).removeprefix(origin) for each in (put, get)]
    return paths[0], headers, paths[1]


async def upload(prosody: Prosody, member: LightMember, data: bytes) -> str:
    """Put a file on the server, and return the path of its link."""
    put, headers, get = await slot_for(prosody, member, len(data))
    assert (await http(prosody, "PUT", put, "Authorization: Bearer x\r\n", data))[0]
    head, _ = await http(prosody, "PUT", put, headers, data)
    assert b" 201 " in head.splitlines()[0] + b" "
    return get
