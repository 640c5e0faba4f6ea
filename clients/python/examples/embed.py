"""Vectors for a small document, kept to one region by a workflow, and their similarity: python embed.py"""

import sys

import sealane

TEXTS = ["The sky is blue.", "Why does the sky look blue?", "Invoices are due in 30 days."]

ingestion = sealane.Workflow()
with sealane.Client() as client:
    try:
        reply = client.embed("text-embedding-3-large", TEXTS, workflow=ingestion, routing={"priority": "PRIORITY_BULK"})
    except sealane.UnavailableError as error:
        sys.exit(f"no region can serve now; try again in {error.retry_delay or 1:.0f} s")
    except sealane.SealaneError as error:
        sys.exit(f"failed: {error}")

vectors = sealane.as_lists(reply)
for text, vector in zip(TEXTS, vectors, strict=True):
    print(f"{sum(a * b for a, b in zip(vectors[0], vector, strict=True)):+.3f}  {text}")
print(
    f"{reply.dimensions} dimensions, space {reply.embedding_space}, pinned to {ingestion.pinned_region}",
    file=sys.stderr,
)
