package sealane

import (
	"crypto/rand"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	sealanev1 "github.com/sealane/sealane/clients/go/sealane/v1"
)

// Workflow is a unit of work, such as one ingestion run or one conversation, whose calls should stay in one region.
// It remembers the region that the service pinned it to and sends that back, so that the pin holds whichever replica
// answers. It is safe for concurrent use. Store ID and PinnedRegion to continue the same work in another process.
type Workflow struct {
	id     string
	pinned atomic.Pointer[string]
}

// NewWorkflow makes a workflow. The id has at most 128 printable ASCII characters; empty, it is a random one.
func NewWorkflow(id string) *Workflow {
	if id == "" {
		id = rand.Text()
	}
	return &Workflow{id: id}
}

// ID is the workflow's id.
func (w *Workflow) ID() string { return w.id }

// PinnedRegion is the region that the service pinned the workflow to; empty before the first reply.
func (w *Workflow) PinnedRegion() string {
	if pinned := w.pinned.Load(); pinned != nil {
		return *pinned
	}
	return ""
}

// Pin sets the pin, to continue work that another process began.
func (w *Workflow) Pin(region string) { w.pinned.Store(&region) }

// Routing is a request's routing options with the workflow's id and pin in them. The argument, which may be nil, is
// left as it is.
func (w *Workflow) Routing(options *sealanev1.RoutingOptions) *sealanev1.RoutingOptions {
	routing := &sealanev1.RoutingOptions{}
	if options != nil {
		routing, _ = proto.Clone(options).(*sealanev1.RoutingOptions)
	}
	routing.WorkflowId = w.id
	if pinned := w.PinnedRegion(); pinned != "" {
		routing.PinnedRegion = pinned
	}
	return routing
}

// Remember takes the pin from a reply's served_by.
func (w *Workflow) Remember(servedBy *sealanev1.ServedBy) {
	if region := servedBy.GetPinnedRegion(); region != "" {
		w.Pin(region)
	}
}
