package webhook

import (
	"encoding/json"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
)

// typeTest is the type of the message by which an endpoint is tried out.
const typeTest = "webhook.test"

// A body is what is posted: thin, so that nothing personal and no secret can be in it. Who wants to know more reads the feed
// or the delivery with a token.
type body struct {
	Type      string `json:"type"`
	Timestamp string `json:"timestamp"` // when it happened
	Data      any    `json:"data"`
}

type eventData struct {
	DeliveryID uuid.UUID `json:"delivery_id"`
	Seq        int       `json:"seq"`
	Type       string    `json:"type"`
	Position   int64     `json:"position"`
}

type testData struct {
	EndpointID uuid.UUID `json:"endpoint_id"`
}

func bodyOf(e courier.Event) (string, error) {
	return encode(body{string(e.Type), stamp(e.At), eventData{e.DeliveryID, e.Seq, string(e.Type), e.Position}})
}

func testBody(endpoint uuid.UUID, now time.Time) (string, error) {
	return encode(body{typeTest, stamp(now), testData{endpoint}})
}

func encode(b body) (string, error) {
	text, err := json.Marshal(b)
	return string(text), err
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
