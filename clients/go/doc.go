// Package sealane calls Sealane: chat completions and embeddings, kept alive across Azure OpenAI regions.
//
// It is a thin layer over the generated stubs in [github.com/sealane/sealane/clients/go/sealane/v1]: [New] opens a
// connection with sensible limits, [Client.Stream] reads a streamed answer that cannot end unnoticed, and [ReasonOf]
// and its siblings read the details of an error.
package sealane
