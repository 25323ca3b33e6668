package api

import (
	"context"
	"net/http"

	"emsd/notify"

	"github.com/google/uuid"
)

// Replies gives what was answered to messages from a delivery's number.
type Replies interface {
	Of(ctx context.Context, delivery uuid.UUID) ([]notify.ReadReply, error)
}

// replyView is what somebody answered, in clear.
type replyView struct {
	ReceivedAt string `json:"received_at"`
	Meaning    string `json:"meaning,omitempty"` // as we took it: stop, wrong_person, in_doubt or other
	Text       string `json:"text"`
}

func (a *API) repliesTo(r *http.Request, delivery uuid.UUID) ([]replyView, error) {
	if a.replies == nil {
		return nil, nil
	}
	replies, err := a.replies.Of(r.Context(), delivery)
	var vs []replyView
	for _, one := range replies {
		vs = append(vs, replyView{timeText(one.At), string(one.Meaning), one.Text.Reveal()})
	}
	return vs, err
}
