"""A unit of work that stays in one region."""

from __future__ import annotations

import uuid

from sealane.v1 import common_pb2


class Workflow:
    """A unit of work, such as one ingestion run or one conversation, whose calls should stay in one region.

    Pass it as `workflow=` to the calls that belong together. It sends its id, remembers the region that the service
    pinned it to, and sends that back, so that the pin holds whichever replica answers. Store `id` and
    `pinned_region` to continue the same work in another process.
    """

    def __init__(self, id: str | None = None, *, pinned_region: str = "") -> None:
        """`id`: at most 128 printable ASCII characters; a random one if not given."""
        self.id = id if id is not None else str(uuid.uuid4())
        self.pinned_region = pinned_region

    def apply(self, routing: common_pb2.RoutingOptions) -> None:
        """Writes the id and the pin into a request's routing options."""
        routing.workflow_id = self.id
        if self.pinned_region:
            routing.pinned_region = self.pinned_region

    def remember(self, served_by: common_pb2.ServedBy) -> None:
        """Takes the pin from a reply."""
        if served_by.pinned_region:
            self.pinned_region = served_by.pinned_region

    def __repr__(self) -> str:
        return f"Workflow(id={self.id!r}, pinned_region={self.pinned_region!r})"
