"""One answer, whole: python complete.py "Why is the sky blue?" """

import sys

import sealane

with sealane.Client() as client:
    try:
        reply = client.complete("gpt-4o", sys.argv[1] if len(sys.argv) > 1 else "hi", timeout=60)
    except sealane.ThrottledError as error:
        sys.exit(f"busy; try again in {error.retry_delay or 1:.0f} s")
    except sealane.InvalidRequestError as error:
        sys.exit("\n".join(f"{v.field}: {v.description}" for v in error.violations) or str(error))
    except sealane.SealaneError as error:
        sys.exit(f"failed: {error}")

print(sealane.text_of(reply))
print(f"served by {reply.served_by.region} after {len(reply.served_by.attempts)} attempt(s)", file=sys.stderr)
