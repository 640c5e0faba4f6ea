package sealane

import (
	"encoding/binary"
	"math"
	"strings"

	sealanev1 "github.com/sealane/sealane/clients/go/sealane/v1"
)

// System is a message of instructions to the model.
func System(text string) *sealanev1.Message { return message(sealanev1.Role_ROLE_SYSTEM, text) }

// User is a message of the person or program that asks.
func User(text string) *sealanev1.Message { return message(sealanev1.Role_ROLE_USER, text) }

// Assistant is a message that the model gave earlier.
func Assistant(text string) *sealanev1.Message { return message(sealanev1.Role_ROLE_ASSISTANT, text) }

func message(role sealanev1.Role, text string) *sealanev1.Message {
	part := &sealanev1.ContentPart{Part: &sealanev1.ContentPart_Text{Text: text}}
	return &sealanev1.Message{Role: role, Content: []*sealanev1.ContentPart{part}}
}

// TextOf is the first choice's text; empty if the content filter withheld it or the model only asked for tools.
func TextOf(reply *sealanev1.CompleteResponse) string {
	if len(reply.GetChoices()) == 0 {
		return ""
	}
	var text strings.Builder
	for _, part := range reply.GetChoices()[0].GetMessage().GetContent() {
		text.WriteString(part.GetText())
	}
	return text.String()
}

// VectorsOf is the vectors in the order of the inputs, in whichever encoding they came.
func VectorsOf(reply *sealanev1.EmbedResponse) [][]float32 {
	vectors := make([][]float32, len(reply.GetEmbeddings()))
	for i, embedding := range reply.GetEmbeddings() {
		vectors[i] = vectorOf(embedding)
	}
	return vectors
}

// vectorOf is the vector in whichever encoding it came.
func vectorOf(embedding *sealanev1.Embedding) []float32 {
	packed := embedding.GetPackedValues()
	if len(packed) == 0 {
		return embedding.GetValues()
	}
	vector := make([]float32, len(packed)/4)
	for i := range vector {
		vector[i] = math.Float32frombits(binary.LittleEndian.Uint32(packed[4*i:]))
	}
	return vector
}
