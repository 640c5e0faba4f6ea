"""An answer as it is generated, with asyncio: python stream.py "Why is the sky blue?" """

import asyncio
import sys

import sealane


async def main(question: str) -> None:
    async with sealane.AsyncClient() as client, client.complete_stream("gpt-4o", question) as stream:
        try:
            async for piece in stream.text_chunks():
                print(piece, end="", flush=True)
        except sealane.StreamInterruptedError as error:
            sys.exit(f"\ncut off in {error.region}; what you see is not the whole answer")
        except sealane.SealaneError as error:
            sys.exit(f"\nfailed: {error}")
        print()
        if stream.served_by:
            print(f"served by {stream.served_by.region}", file=sys.stderr)


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "hi"))
